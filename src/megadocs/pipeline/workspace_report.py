"""One report over everything that a workspace holds: the runs of all recipes that ran there.

    outcome = report_workspace(Path("runs/paper"))

Each `megadocs run` leaves its recipe in `recipes/`. Runs of recipes over the same corpus and tokenizer stand on one
page; a run that two recipes share is one run, with the sets and benchmarks of both, under the name that it has in the
recipe that ran last. Where two recipes use one name for different arms, the second is shown as `<recipe>.<arm>`.
Recipes over another corpus or tokenizer have other documents and other tokens: they are named and left out.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from megadocs.errors import InputError, MegadocsError
from megadocs.pipeline.execute.executor import Executor
from megadocs.pipeline.execute.local import LocalExecutor
from megadocs.pipeline.execute.scheduler import run_steps
from megadocs.pipeline.run import (
    RECIPE_FILE,
    RECIPE_FOLDER,
    ExperimentOutcome,
    Show,
    copy_to_top,
    no_progress,
    read_recipe,
)
from megadocs.pipeline.steps.evaluation import Ensemble, Scored
from megadocs.pipeline.steps.experiment import Experiment, Run, build_experiment
from megadocs.pipeline.steps.report import report_step
from megadocs.pipeline.steps.sources import corpus_facts, sources_step
from megadocs.pipeline.steps.step import Step, find_artifact
from megadocs.recipe import Arm, Recipe, fingerprint
from megadocs.store.artifact import Workspace
from megadocs.store.files import read_json


def report_workspace(
    root: Path, *, show: Show = no_progress, allow_code: bool = False, executor: Executor | None = None
) -> ExperimentOutcome:
    """Build the report over all recipes of a workspace.

    Args:
        executor: where the report's step runs, closed at the end; None: a process of this machine.

    Raises:
        InputError: no recipe has run here, or its corpus is not there.
    """
    workspace = Workspace(root)
    recipe, experiment, others = merge_experiments(workspace, allow_code=allow_code)
    names = [recipe.name, *others]
    step = report_step(recipe, experiment, workspace, {})
    if others:
        step = replace(step, config={**step.config, "recipes": names}, identity={**step.identity, "recipes": names})
    executor = executor or LocalExecutor(root, 1)
    try:
        with show(1) as listener:
            outcome = run_steps([step], workspace, executor, listener)
    finally:
        executor.close()
    report = find_artifact(step, workspace)
    if report is not None:
        copy_to_top(report, root)
    return ExperimentOutcome(experiment, (outcome,), report)


def merge_experiments(workspace: Workspace, *, allow_code: bool = False) -> tuple[Recipe, Experiment, list[str]]:
    """The recipe that ran last, the runs of all recipes under it, and the names of the other recipes."""
    found = list(_experiments(workspace, allow_code=allow_code))
    if not found:
        raise InputError(
            "no recipe has run here to its end",
            where=str(workspace.root),
            remedy="give a recipe: megadocs report RECIPE --workspace DIR",
        )
    recipe, first = found[0]
    merged = _Merged(dict(first.left_out))
    others = []
    for other, experiment in found:
        if (experiment.corpus.fingerprint, experiment.tokenizer.fingerprint) != (
            first.corpus.fingerprint,
            first.tokenizer.fingerprint,
        ):
            merged.left_out[other.name] = "a recipe over another corpus or tokenizer: it has a report of its own"
            continue
        merged.left_out = {**experiment.left_out, **merged.left_out}
        merged.add(other.name, experiment)
        if other is not recipe:
            others.append(other.name)
    experiment = replace(
        first, runs=tuple(merged.runs), ensembles=tuple(merged.ensembles.values()), left_out=merged.left_out
    )
    return recipe, experiment, others


@dataclass(slots=True)
class _Merged:
    """Runs and ensembles of several recipes under distinct names."""

    left_out: dict[str, str]
    runs: list[Run] = field(default_factory=list)
    ensembles: dict[str, Ensemble] = field(default_factory=dict)
    arm_of: dict[str, str] = field(default_factory=dict)  # what an arm is -> its name
    seen: dict[str, int] = field(default_factory=dict)  # fingerprint of a run's training -> its place

    def add(self, recipe: str, experiment: Experiment) -> None:
        """Take in the runs of one recipe."""
        for run in experiment.runs:
            place = self.seen.setdefault(run.train.fingerprint, len(self.runs))
            if place < len(self.runs):
                known_run = self.runs[place]
                self.runs[place] = replace(known_run, scored=_joined(known_run.scored, run.scored))
                continue
            self.runs.append(replace(run, arm=Arm(self._name(recipe, run), run.arm.recipe)))
        for ensemble in experiment.ensembles:
            known = self.ensembles.get(ensemble.name)
            if known is not None and known.losses.fingerprint == ensemble.losses.fingerprint:
                self.ensembles[known.name] = replace(known, scored=_joined(known.scored, ensemble.scored))
            else:
                name = ensemble.name if known is None else f"{recipe}.{ensemble.name}"
                self.ensembles[name] = replace(ensemble, name=name)

    def _name(self, recipe: str, run: Run) -> str:
        """The arm's name: equal settings have one name whatever the seed, different ones never share one."""
        identity = {key: value for key, value in run.train.identity.items() if key != "seed"}
        key = fingerprint([identity, {role: step.fingerprint for role, step in run.train.inputs.items()}])
        if key not in self.arm_of:
            is_taken = run.arm.name in self.arm_of.values()
            self.arm_of[key] = f"{recipe}.{run.arm.name}" if is_taken else run.arm.name
        return self.arm_of[key]


def _joined(first: Scored, second: Scored) -> Scored:
    """Benchmarks, sets and gate of one model in two recipes; where both name one, the first recipe's."""
    return Scored({**second.benchmarks, **first.benchmarks}, {**second.sets, **first.sets}, first.gate or second.gate)


def _experiments(workspace: Workspace, *, allow_code: bool) -> Iterator[tuple[Recipe, Experiment]]:
    """Recipes with their experiments, the one that ran last first, the others by name."""
    last = workspace.root / RECIPE_FILE
    first = read_json(last)["name"] if last.is_file() else None
    paths = (workspace.root / RECIPE_FOLDER).glob("*.json")
    for path in sorted(paths, key=lambda path: (path.stem != first, path.stem)):
        recipe = read_recipe(path)
        corpus = _corpus(recipe, workspace)
        artifact = find_artifact(corpus, workspace) if corpus is not None else None
        if corpus is not None and artifact is not None:
            yield recipe, build_experiment(recipe, corpus, corpus_facts(artifact), allow_code=allow_code)


def _corpus(recipe: Recipe, workspace: Workspace) -> Step | None:
    """The corpus step, or None where neither source nor workspace holds it any more."""
    try:
        return sources_step(recipe, workspace)
    except MegadocsError:
        return None
