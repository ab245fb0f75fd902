"""What published datasets lack, found before the first training: their rows are made for every arm, then looked at.

A dataset is an input: what is missing in it will still be missing when the last arm is reached, days later.
"""

from __future__ import annotations

from collections.abc import Collection

from megadocs.errors import InputError, MissingGenerationsError, RecipeError
from megadocs.pipeline.stages.arm_data import published_mixture
from megadocs.pipeline.steps.experiment import Experiment, Run
from megadocs.pipeline.steps.step import Step, with_inputs
from megadocs.store.artifact import Workspace


def steps_before_gaps(experiment: Experiment, arms: Collection[str] | None = None) -> list[Step]:
    """The rows of the arms that read published datasets, and what these need, inputs first; None: of all arms."""
    return with_inputs(step for run in _readers(experiment, arms) for step in run.train.inputs.values())


def refuse_gaps(experiment: Experiment, workspace: Workspace, arms: Collection[str] | None = None) -> None:
    """Refuse arms whose streams published datasets cannot serve; arms of which rows are not there are passed over.

    Raises:
        MissingGenerationsError: more is missing than `stream.max_missing_fraction` allows.
        InputError: documents have no row, or there are none of a kind.
        RecipeError: the streams do not fit the mixture.
    """
    for run in _readers(experiment, arms):
        try:
            published_mixture(run.train, workspace)
        except (MissingGenerationsError, InputError, RecipeError) as error:
            raise type(error)(
                f"arm {run.arm.name}: {error.what} (nothing was trained)",
                where=f"published.datasets: {', '.join(_datasets(run))}",
                remedy="complete the dataset, leave the arm out, or allow more (stream.max_missing_fraction)",
            ) from error


def _readers(experiment: Experiment, arms: Collection[str] | None) -> list[Run]:
    """One run of each arm that reads published datasets: seeds differ in order only."""
    found: dict[str, Run] = {}
    for run in experiment.runs:
        if (arms is None or run.arm.name in arms) and _datasets(run):
            found.setdefault(run.arm.name, run)
    return list(found.values())


def _datasets(run: Run) -> list[str]:
    return [step.config["dataset_name"] for step in run.train.inputs.values() if "dataset" in step.config]
