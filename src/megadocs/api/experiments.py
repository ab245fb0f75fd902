"""Recipes, plans, runs and workspaces from Python.

    recipe = load_recipe("quickstart", {"seeds": [0]})
    workspace = run(recipe, "runs/try")

Everything works as on the command line: finished steps are reused, Ctrl-C (a notebook's stop button) saves and stops,
and what needs consent is asked for in the same way. Overrides that you pass are yours, like `key.sub=value` there.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import megadocs.recipe as recipes
from megadocs.api.results import Results
from megadocs.api.streams import Streams
from megadocs.cli.progress import show_progress
from megadocs.corpus import read_corpus
from megadocs.errors import InputError, RecipeError
from megadocs.pipeline import run as runs
from megadocs.pipeline.open_results import open_results
from megadocs.pipeline.price.lines import Plan
from megadocs.pipeline.price.plan import build_plan
from megadocs.pipeline.steps.experiment import Experiment
from megadocs.pipeline.steps.sources import open_experiment
from megadocs.pipeline.steps.step import find_artifact
from megadocs.recipe import Recipe
from megadocs.store.artifact import Workspace

_NO_CORPUS = "run the recipe there first: `megadocs rows RECIPE`"

Stage = Literal["corpus", "generate", "rows", "train", "evaluate", "report"]


def recipe_names() -> list[str]:
    """The names of the recipes that come with the package."""
    return recipes.shipped_names()


def load_recipe(recipe: str | Path, overrides: Mapping[str, Any] | Sequence[str] = ()) -> Recipe:
    """Read a recipe and set some of its keys.

    Args:
        recipe: a YAML file, or the name of a recipe of the package.
        overrides: `{"train.learning_rate": 0.01}`, or strings as on the command line (`"train.learning_rate=0.01"`).

    Raises:
        RecipeError: no such recipe, an unknown key, a value out of range; it names the key and the remedy.
    """
    if isinstance(overrides, str):
        raise RecipeError("overrides are several", where=overrides, remedy="give a mapping, or a list of key=value")
    if isinstance(overrides, Mapping):
        overrides = [f"{key}={_as_yaml(key, value)}" for key, value in overrides.items()]
    return recipes.load_recipe(recipe, overrides)


def _as_yaml(key: str, value: Any) -> str:
    try:
        return json.dumps(str(value) if isinstance(value, Path) else value, ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise RecipeError(f"no value of a recipe: {value!r:.80}", where=key, remedy="give plain values") from error


def plan(
    recipe: Recipe, workspace: str | Path | None = None, *, jobs: int | None = None, allow_code: bool = False
) -> Plan:
    """What `run` would do and what it would take; nothing is started or written.

    Args:
        recipe: by `load_recipe`.
        workspace: finished steps there cost nothing; default `runs/<the recipe's name>`.
        jobs: steps side by side; default one per core.
        allow_code: load the code that the recipe names (`module:attribute`).
    """
    return build_plan(recipe, _root(recipe, workspace), jobs, allow_code=allow_code)


def run(
    recipe: Recipe,
    workspace: str | Path | None = None,
    *,
    until: Stage = "report",
    jobs: int | None = None,
    progress: bool = True,
    allow_code: bool = False,
) -> OpenWorkspace:
    """Run a recipe to its report, or to an earlier stage; finished steps are reused.

    Args:
        recipe: by `load_recipe`.
        workspace: directory of results; default `runs/<the recipe's name>`.
        until: `rows` is enough for `OpenWorkspace.streams`.
        jobs: steps side by side; default one per core.
        progress: say on standard error what runs and what is done.
        allow_code: load the code that the recipe names (`module:attribute`).

    Warns:
        UserWarning: generations are missing; the message says how many, why, and what to do.

    Raises:
        MegadocsError: a step failed; the others were run as far as they could be.
        KeyboardInterrupt: it was stopped; the same call goes on.
    """
    if until not in runs.STAGES:
        raise InputError(f"no stage {until!r}", where="until", remedy=f"choose one of {', '.join(runs.STAGES)}")
    root = _root(recipe, workspace)
    show = show_progress if progress else runs.no_progress
    outcome = runs.run_experiment(recipe, root, stage=until, num_slots=jobs, show=show, allow_code=allow_code)
    if outcome.interrupted_by:
        raise KeyboardInterrupt("stopped; the same call goes on")
    runs.raise_failure(outcome)
    for name, accounting in runs.missing_generations(outcome, root).items():
        warnings.warn(" ".join([f"{name}: {accounting.missing_text()}", *accounting.remedies()]), stacklevel=2)
    return OpenWorkspace(root, recipe, allow_code=allow_code)


def open_workspace(workspace: str | Path, *, allow_code: bool = False) -> OpenWorkspace:
    """A workspace with the recipe that ran in it last.

    Raises:
        InputError: no recipe has run there.
        DamagedError: the recipe there is of another version of megadocs; its results can be read by
            `megadocs analyze` all the same.
    """
    root = Path(workspace)
    recipe = runs.last_recipe(root)
    if recipe is None:
        raise InputError("no recipe has run there", where=str(root), remedy="run one: `megadocs run RECIPE`")
    return OpenWorkspace(root, recipe, allow_code=allow_code)


@dataclass(frozen=True)
class OpenWorkspace:
    """A workspace: what a recipe made there.

    Attributes:
        path: its directory.
        recipe: the recipe that it is looked at with.
        allow_code: whether code that the recipe names may be loaded.
    """

    path: Path
    recipe: Recipe
    allow_code: bool = False

    @property
    def arms(self) -> list[str]:
        """The arms that this corpus can serve."""
        return list(dict.fromkeys(run.arm.name for run in self._experiment.runs))

    @property
    def results(self) -> Results:
        """The report's numbers, checked against the record of the report; `InputError` before there is a report."""
        data, note = open_results(self.path)
        if note is not None:
            warnings.warn(note, stacklevel=2)
        return Results(data, self.path)

    def streams(self, arm: str, seed: int | None = None) -> Streams:
        """What an arm trains on; needs its rows (`run(..., until="rows")`), not its training.

        Args:
            arm: one of `arms`.
            seed: one of the recipe's; default the first.

        Raises:
            InputError: no such arm or seed, or rows that are not there yet.
        """
        return Streams.open(self._experiment, Workspace(self.path), arm, seed)

    def documents(self, part: Literal["train", "validation", "test"] = "train") -> list[str]:
        """The texts of a part of the corpus; `train` in drawing order, the first 1x of them are the real-only arm's."""
        artifact = find_artifact(self._experiment.corpus, Workspace(self.path))
        if artifact is None:
            raise InputError("its corpus is not there", where=str(self.path), remedy=_NO_CORPUS)
        parts = {name: getattr(read_corpus(artifact.path), name) for name in ("train", "validation", "test")}
        if part not in parts:
            raise InputError(f"no part {part!r}", where="part", remedy=f"choose one of {', '.join(parts)}")
        return [document.text for document in parts[part]]

    def model(self, arm: str, seed: int | None = None) -> Path:
        """The Hugging Face folder of a trained arm; `InputError` while it is not trained."""
        found = Streams.find_run(self._experiment, arm, seed)
        artifact = find_artifact(found.train, Workspace(self.path))
        if artifact is None:
            remedy = f"`megadocs train {self.recipe.name}` (or megadocs.run(recipe, workspace, until='train'))"
            raise InputError(f"arm {arm} is not trained yet", where=str(self.path), remedy=remedy)
        return artifact.path / "model"

    @cached_property
    def _experiment(self) -> Experiment:
        experiment, _ = open_experiment(self.recipe, Workspace(self.path), allow_code=self.allow_code)
        if experiment is None:
            raise InputError("its corpus is not there", where=str(self.path), remedy=_NO_CORPUS)
        return experiment


def _root(recipe: Recipe, workspace: str | Path | None) -> Path:
    return Path("runs") / recipe.name if workspace is None else Path(workspace)
