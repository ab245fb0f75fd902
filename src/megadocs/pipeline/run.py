"""Carry out a recipe from its first step to the report, or up to a stage.

    outcome = run_experiment(recipe, Path("runs/quickstart"), listener=print)

The corpus comes first, because its size decides which arms there can be. Then all steps of the experiment. The report
is built from whatever runs there are: a failed run is shown as missing, never guessed.
"""

from __future__ import annotations

import json
import signal
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from megadocs.errors import InputError, MegadocsError
from megadocs.pipeline.execute.executor import Executor
from megadocs.pipeline.execute.local import LocalExecutor
from megadocs.pipeline.execute.scheduler import Listener, Outcome, find_artifact, run_steps
from megadocs.pipeline.steps.evaluation import Scored
from megadocs.pipeline.steps.experiment import CorpusFacts, Experiment, build_experiment
from megadocs.pipeline.steps.search_records import read_searches
from megadocs.pipeline.steps.sources import sources_step
from megadocs.pipeline.steps.step import Step
from megadocs.recipe import Recipe, fingerprint
from megadocs.store.artifact import Artifact, Workspace
from megadocs.store.files import make_directory, write_bytes_atomic

_TRAINED = ("corpus", "tokenizer", "generate", "rows", "train")
_SCORES = ("evaluate", "ensemble", "extra_set", "benchmark")

#: A stage on its own: the kinds of steps that it comprises (and whatever these need: a student's rows its teacher).
STAGES: dict[str, tuple[str, ...]] = {
    "corpus": ("corpus",),
    "generate": ("corpus", "generate"),
    "rows": ("corpus", "tokenizer", "generate", "rows"),
    "train": ("corpus", "tokenizer", "generate", "rows", "train"),
    "evaluate": (*_TRAINED, *_SCORES),
    "report": (*_TRAINED, *_SCORES, "report"),
}

#: Makes a listener for a number of steps.
Show = Callable[[int], AbstractContextManager[Listener]]

#: At the top of the workspace: the resolved recipe of the last run; and a file for each recipe that ran, as it was set.
RECIPE_FILE = "recipe.json"
RECIPE_FOLDER = "recipes"


@dataclass(frozen=True, slots=True)
class ExperimentOutcome:
    """How a recipe's run ended.

    Attributes:
        experiment: all its steps; None when the corpus could not be made.
        outcomes: of the corpus, of the experiment's steps, of the report, as far as it came.
        report: the report's artifact, when it was built.
    """

    experiment: Experiment | None
    outcomes: tuple[Outcome, ...]
    report: Artifact | None

    @property
    def interrupted_by(self) -> signal.Signals | None:
        """The signal that ended it early, or None."""
        return next((outcome.interrupted_by for outcome in self.outcomes if outcome.interrupted_by), None)

    @property
    def errors(self) -> list[dict[str, Any]]:
        """What failed: step name, what, where, remedy and exit code."""
        return [
            {"step": state.step.name, **(state.error or {})} for outcome in self.outcomes for state in outcome.failures
        ]


def no_progress(total: int) -> AbstractContextManager[Listener]:
    """A listener that hears nothing."""
    return nullcontext(lambda state: None)


def open_experiment(
    recipe: Recipe, workspace: Workspace, *, allow_code: bool = False
) -> tuple[Experiment | None, Step]:
    """The experiment's steps if its corpus is published (else None), and the corpus step."""
    corpus = sources_step(recipe)
    artifact = find_artifact(corpus, workspace)
    if artifact is None:
        return None, corpus
    return build_experiment(recipe, corpus, corpus_facts(artifact), allow_code=allow_code), corpus


def corpus_facts(artifact: Artifact) -> CorpusFacts:
    """The counts that a corpus artifact recorded."""
    summary = artifact.summary
    return CorpusFacts(summary["num_train_1x"], summary["max_multiple"])


def run_experiment(
    recipe: Recipe,
    root: Path,
    *,
    stage: str = "report",
    num_slots: int | None = None,
    show: Show = no_progress,
    allow_code: bool = False,
    executor: Executor | None = None,
) -> ExperimentOutcome:
    """Carry out a recipe.

    Args:
        recipe: what to do.
        root: the workspace.
        stage: key of `STAGES` at which to stop.
        num_slots: steps side by side; None is one per core.
        show: makes a listener for a number of steps (see `cli.console.show_progress`).
        allow_code: load orderings of the form module:attribute that the recipe names.
        executor: where steps run, closed at the end; None: processes of this machine.
    """
    workspace = Workspace(root)
    executor = executor or LocalExecutor(root, num_slots)
    try:
        corpus = sources_step(recipe)
        outcomes = [_run([corpus], workspace, executor, show)]
        artifact = find_artifact(corpus, workspace)
        if artifact is None:
            return ExperimentOutcome(None, tuple(outcomes), None)
        experiment = build_experiment(recipe, corpus, corpus_facts(artifact), allow_code=allow_code)
        if not experiment.runs:
            reasons = "; ".join(f"{name} {reason}" for name, reason in experiment.left_out.items())
            raise InputError(
                f"no arm can be trained: {reasons}", where="arms", remedy="add documents or lower real_multiple"
            )
        _keep_recipe(recipe, root)
        steps = steps_of_stage(experiment, stage)
        outcomes.append(_run(steps, workspace, executor, show))
        report = None
        if stage == "report" and outcomes[-1].interrupted_by is None:
            step = report_step(recipe, experiment, workspace, outcomes[-1])
            outcomes.append(_run([step], workspace, executor, show))
            report = find_artifact(step, workspace)
            if report is not None:
                copy_to_top(report, root)
        return ExperimentOutcome(experiment, tuple(outcomes), report)
    finally:
        executor.close()


def _keep_recipe(recipe: Recipe, root: Path) -> None:
    """Leave the recipe in the workspace, for readers and for reports over all that ran there."""
    make_directory(root / RECIPE_FOLDER)
    resolved, as_set = recipe.model_dump(mode="json"), recipe.model_dump(mode="json", exclude_unset=True)
    for path, data in ((RECIPE_FILE, resolved), (f"{RECIPE_FOLDER}/{recipe.name}.json", as_set)):
        text = json.dumps(data, indent=1, ensure_ascii=False)  # the arms' order stays
        write_bytes_atomic(root / path, text.encode("utf-8"))


def steps_of_stage(experiment: Experiment, stage: str) -> list[Step]:
    """The experiment's steps of a stage's kinds and everything that they need, in order of priority."""
    wanted: set[str] = set()

    def add(step: Step) -> None:
        wanted.add(step.fingerprint)
        for needed in step.inputs.values():
            add(needed)

    for step in experiment.steps:
        if step.kind in STAGES[stage]:
            add(step)
    return [step for step in experiment.steps if step.fingerprint in wanted]


def report_step(recipe: Recipe, experiment: Experiment, workspace: Workspace, outcome: Outcome | None) -> Step:
    """Analyse and report the runs that there are."""
    reasons = {
        state.step.fingerprint: (state.error or {}).get("what") for state in (outcome.failures if outcome else ())
    }
    inputs: dict[str, Step] = {"corpus": experiment.corpus, "tokenizer": experiment.tokenizer}
    runs = []
    for number, run in enumerate(experiment.runs):
        needed = {f"train {number}": run.train, f"evaluate {number}": run.evaluate}
        needed |= {f"rows {number} {role}": step for role, step in run.train.inputs.items() if step.kind == "rows"}
        is_there = all(find_artifact(step, workspace) is not None for step in needed.values())
        if is_there:
            inputs |= needed
            inputs |= {
                f"generate {step.config['task']} {step.config['num_generations']}": step
                for rows in run.train.inputs.values()
                if rows.kind == "rows"
                for step in rows.inputs.values()
                if step.kind in ("generate", "sample")
            }
            inputs |= _published(scored_roles(str(number), run.scored), workspace)
        why = None if is_there else reasons.get(run.train.fingerprint) or reasons.get(run.evaluate.fingerprint)
        runs.append({"arm": run.arm.name, "seed": run.seed, "is_there": is_there, "why_missing": why})
    config = {
        "analysis": recipe.analysis.model_dump(mode="json"),
        "recipe": recipe.model_dump(mode="json"),
        "runs": runs,
        "left_out": dict(experiment.left_out),
    }
    if experiment.ensembles:
        for ensemble in experiment.ensembles:
            roles = {f"ensemble {ensemble.name}": ensemble.losses, **scored_roles(ensemble.name, ensemble.scored)}
            inputs |= _published(roles, workspace)
        config["ensembles"] = [{"name": e.name, "arm": e.arm, "seeds": list(e.seeds)} for e in experiment.ensembles]
    searches = read_searches(workspace.root)
    if searches:
        config["searches"] = fingerprint(searches)  # another search, another report
    return Step("report", "report", config, config, inputs)


def failed_generations(outcome: ExperimentOutcome, root: Path) -> int:
    """Generations of this experiment that failed for good, by the books of its published generate steps."""
    steps = outcome.experiment.of_kind("generate") if outcome.experiment else []
    artifacts = [find_artifact(step, Workspace(root)) for step in steps]
    return sum(artifact.summary["accounting"]["failed"] for artifact in artifacts if artifact is not None)


def raise_failure(outcome: ExperimentOutcome) -> None:
    """The first failure as the error it was, with the number of the others.

    Raises:
        MegadocsError: with the step's name, place and remedy.
    """
    if not outcome.errors:
        return
    first, others = outcome.errors[0], len(outcome.errors) - 1
    more = f" ({others} more steps failed)" if others else ""
    error = MegadocsError(
        f"{first['step']}: {first['what']}{more}", where=first.get("where"), remedy=first.get("remedy")
    )
    error.exit_code = first.get("exit_code") or 1
    raise error


def scored_roles(owner: str, scored: Scored) -> dict[str, Step]:
    """Roles of a model's sets and benchmarks among the report's inputs; `owner` is a run's number or an ensemble."""
    sets = {f"set {owner} {name}": step for name, step in scored.sets.items()}
    return sets | {f"benchmark {owner} {task}": step for task, step in scored.benchmarks.items()}


def _published(roles: Mapping[str, Step], workspace: Workspace) -> dict[str, Step]:
    return {role: step for role, step in roles.items() if find_artifact(step, workspace) is not None}


def _run(steps: list[Step], workspace: Workspace, executor: Executor, show: Show) -> Outcome:
    with show(len(steps)) as listener:
        return run_steps(steps, workspace, executor, listener)


def copy_to_top(report: Artifact, root: Path) -> None:
    """Copy the report's files to the top of the workspace where they differ; `DamagedError` for an edited one."""
    for name in report.record["files"]:
        if "/" in name:
            continue
        data = report.read_checked(name)
        target = root / name
        if not target.is_file() or target.read_bytes() != data:
            write_bytes_atomic(target, data)
