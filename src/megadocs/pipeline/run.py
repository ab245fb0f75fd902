"""Run a recipe from its first step to the report, or up to a stage.

    outcome = run_experiment(recipe, Path("runs/quickstart"), listener=print)

The corpus comes first, because its size decides which arms there can be. Then all steps of the experiment. The report
is built from whatever runs there are: a failed run is shown as missing, never guessed.
"""

from __future__ import annotations

import json
import signal
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from megadocs.corpus import loss_lines
from megadocs.errors import DamagedError, InputError, MegadocsError
from megadocs.generate import Accounting
from megadocs.kinds import load_code
from megadocs.pipeline.execute.executor import Executor
from megadocs.pipeline.execute.local import LocalExecutor
from megadocs.pipeline.execute.scheduler import Listener, Outcome, run_steps
from megadocs.pipeline.price.rates import keep_rates
from megadocs.pipeline.reopening import reopen_generations
from megadocs.pipeline.stages.published_gaps import refuse_gaps, steps_before_gaps
from megadocs.pipeline.steps.experiment import Experiment, build_experiment
from megadocs.pipeline.steps.places import check_places, fetch_named
from megadocs.pipeline.steps.report import report_step
from megadocs.pipeline.steps.rows import generate_step, without_custom_orderings
from megadocs.pipeline.steps.sources import corpus_facts, sources_step
from megadocs.pipeline.steps.step import Step, find_artifact, with_inputs
from megadocs.pipeline.tune.before_run import tune_recipe
from megadocs.pipeline.tune.results import SearchOutcome
from megadocs.pipeline.tune.standing import Watcher
from megadocs.pipeline.tune.student import with_student_of
from megadocs.recipe import Recipe, TrainedTokenizer, build_arms, own_code_names
from megadocs.recipe.consent import EVERYTHING, check_consent
from megadocs.recipe.wishes import Act
from megadocs.store.artifact import Artifact, Workspace
from megadocs.store.files import make_directory, read_json, write_bytes_atomic
from megadocs.train.trackers import require_trackers

_SCORES = ("evaluate", "ensemble", "extra_set", "benchmark", "gate")

#: Stage -> the kinds of steps that it runs, beside whatever those depend on.
STAGES: dict[str, tuple[str, ...]] = {
    "corpus": ("corpus",),
    "generate": ("corpus", "generate"),
    "rows": ("rows",),
    "train": ("train",),
    "evaluate": _SCORES,
    "report": (*_SCORES, "report"),
}

#: What a stage does that needs consent, where it is not everything.
_ACTS: dict[str, frozenset[Act]] = {
    "corpus": frozenset(),
    "generate": frozenset({"generate"}),
    "rows": frozenset({"generate"}),
}

#: Makes a listener for a number of steps.
Show = Callable[[int], AbstractContextManager[Listener]]

#: At the top of the workspace: the resolved recipe of the last run; and a file for each recipe that ran, as it was set.
RECIPE_FILE = "recipe.json"
RECIPE_FOLDER = "recipes"


@dataclass(frozen=True, slots=True)
class ExperimentOutcome:
    """How a recipe's run ended."""

    experiment: Experiment | None  # all its steps; None when the corpus could not be made
    outcomes: tuple[Outcome, ...]  # of the corpus, of the experiment's steps, of the report, as far as it came
    report: Artifact | None
    notes: tuple[str, ...] = ()  # what was looked at again before the steps, one sentence each
    tuning: SearchOutcome | None = None  # the search before them, for a recipe with `tune`; None: there was none

    @property
    def interrupted_by(self) -> signal.Signals | None:
        """The signal that ended it early, or None."""
        if self.tuning is not None and self.tuning.interrupted_by is not None:
            return self.tuning.interrupted_by
        return next((outcome.interrupted_by for outcome in self.outcomes if outcome.interrupted_by), None)

    @property
    def errors(self) -> list[dict[str, Any]]:
        """What failed: step name, what, where, remedy and exit code."""
        return [
            {"step": state.step.name, **(state.error or {})} for outcome in self.outcomes for state in outcome.failures
        ]


def no_progress(total: int) -> AbstractContextManager[Listener]:
    """A listener that does nothing."""
    return nullcontext(lambda state: None)


def run_experiment(
    recipe: Recipe,
    root: Path,
    *,
    stage: str = "report",
    num_slots: int | None = None,
    show: Show = no_progress,
    allow_code: bool = False,
    executor: Executor | None = None,
    watcher: Watcher | None = None,
) -> ExperimentOutcome:
    """Run a recipe.

    Args:
        stage: key of `STAGES` at which to stop.
        show: makes a listener for a number of steps (see `cli.console.show_progress`).
        allow_code: load the kinds, orderings and engines of the form module:attribute that the recipe names.
        executor: where steps run, closed at the end; None: processes of this machine.
        watcher: receives the progress of tuning, for a recipe with `tune`.

    Raises:
        ConsentError: the recipe's file asks for a power that the person did not give; nothing was started.
        UsageError: a tracker's package is missing, the recipe names code and `allow_code` is not set, the corpus
            cannot be read, a path that it names leads nowhere (`steps.places`), or no arm can be trained.
        MissingGenerationsError: a published dataset lacks more than an arm allows; nothing was trained.
        StoreError: the workspace cannot be written, or holds damaged bytes.
    """
    run = _Run(Workspace(root), executor or LocalExecutor(root, num_slots), show)
    try:
        acts = _allow(recipe, stage, allow_code=allow_code)
        check_places(recipe, acts)
        corpus = sources_step(recipe, run.workspace)
        run(corpus)
        artifact = find_artifact(corpus, run.workspace)
        if artifact is None:
            return run.ended(None)
        recipe = with_student_of(recipe, artifact)
        build = partial(build_experiment, recipe, corpus, corpus_facts(artifact), allow_code=allow_code)
        if "train" in acts and isinstance(run.executor, LocalExecutor):  # the nodes of a cluster fetch for themselves
            fetch_named(recipe, build, run.workspace)
        if recipe.published is not None and "train" in acts:
            untuned = build()
            if run(*steps_before_gaps(untuned)).interrupted_by is not None:
                return run.ended(untuned)
            refuse_gaps(untuned, run.workspace)
        if recipe.tune != "off" and "train" in acts:
            tuned = tune_recipe(recipe, root, artifact, run.executor, watcher=watcher, allow_code=allow_code)
            recipe, run.tuning = tuned.recipe, tuned.outcome
            if run.tuning is not None and run.tuning.interrupted_by is not None:
                return run.ended(None)
        experiment = _experiment(recipe, stage, corpus, artifact, allow_code=allow_code)
        _keep_recipe(recipe, root)
        return _run_stage(run, recipe, experiment, stage, corpus)
    finally:
        run.executor.close()


@dataclass(slots=True)
class _Run:
    """One call of `run_experiment`: where its steps run, and what came of those that did."""

    workspace: Workspace
    executor: Executor
    show: Show
    outcomes: list[Outcome] = field(default_factory=list)
    tuning: SearchOutcome | None = None

    def __call__(self, *steps: Step) -> Outcome:
        with self.show(len(steps)) as listener:
            self.outcomes.append(run_steps(steps, self.workspace, self.executor, listener))
        return self.outcomes[-1]

    def ended(
        self, experiment: Experiment | None, report: Artifact | None = None, notes: Sequence[str] = ()
    ) -> ExperimentOutcome:
        return ExperimentOutcome(experiment, tuple(self.outcomes), report, tuple(notes), self.tuning)


def _run_stage(run: _Run, recipe: Recipe, experiment: Experiment, stage: str, corpus: Step) -> ExperimentOutcome:
    """Run the experiment's steps up to a stage, and build the report where it is the last one."""
    steps = steps_of_stage(experiment, stage)
    if stage == "generate":  # every task in full, whether an arm uses it or not
        steps += _tasks_without_arm(recipe, corpus, steps)
    notes = reopen_generations(steps, run.workspace, check_ledger=stage == "generate")
    outcome = run(*steps)
    if isinstance(run.executor, LocalExecutor):  # a cluster's nodes say nothing of this machine
        _keep_rates(outcome, run.workspace)
    report = None
    if stage == "report" and outcome.interrupted_by is None:
        step = report_step(recipe, experiment, run.workspace, outcome.reasons)
        run(step)
        if (report := find_artifact(step, run.workspace)) is not None:
            copy_to_top(report, run.workspace.root)
    return run.ended(experiment, report, notes)


def _allow(recipe: Recipe, stage: str, *, allow_code: bool) -> frozenset[Act]:
    """Check all that needs a person's consent, load the code that was allowed; what the stage will do with it."""
    acts = _ACTS.get(stage, EVERYTHING)
    check_consent(recipe, acts)
    if "train" in acts:
        require_trackers([name for arm in build_arms(recipe) for name in arm.recipe.train.trackers])
    load_code(own_code_names(_as_needed(recipe, stage, allow_code=allow_code)), allow=allow_code)
    return acts


def _experiment(recipe: Recipe, stage: str, corpus: Step, artifact: Artifact, *, allow_code: bool) -> Experiment:
    """The steps of the recipe over its corpus; `InputError` where no arm can be trained."""
    built = _as_needed(recipe, stage, allow_code=allow_code)
    experiment = build_experiment(built, corpus, corpus_facts(artifact), allow_code=allow_code)
    if not experiment.runs:
        reasons = "; ".join(f"{name} {reason}" for name, reason in experiment.left_out.items())
        raise InputError(
            f"no arm can be trained: {reasons}", where="arms", remedy="add documents or lower real_multiple"
        )
    return experiment


def _as_needed(recipe: Recipe, stage: str, *, allow_code: bool) -> Recipe:
    """The recipe as a stage needs it.

    Neither corpus nor generation reads an ordering, so its code need not load, nor the student's tokenizer, which need
    not be there yet.
    """
    if stage not in ("corpus", "generate"):
        return recipe
    recipe = recipe.model_copy(update={"tokenizer": TrainedTokenizer()})
    return recipe if allow_code else without_custom_orderings(recipe)


def _keep_rates(outcome: Outcome, workspace: Workspace) -> None:
    """Leave the rates of the steps that were just done for the prices of later plans."""
    done = [state.step for state in outcome.states if state.status == "done"]
    keep_rates(artifact for step in done if (artifact := find_artifact(step, workspace)) is not None)


def _keep_recipe(recipe: Recipe, root: Path) -> None:
    """Leave the recipe in the workspace, for readers and for reports over all that ran there."""
    make_directory(root / RECIPE_FOLDER)
    resolved, as_set = recipe.model_dump(mode="json"), recipe.model_dump(mode="json", exclude_unset=True)
    for path, data in ((RECIPE_FILE, resolved), (f"{RECIPE_FOLDER}/{recipe.name}.json", as_set)):
        text = json.dumps(data, indent=1, ensure_ascii=False)  # the arms' order stays
        write_bytes_atomic(root / path, text.encode("utf-8"))


def last_recipe(root: Path) -> Recipe | None:
    """The recipe that ran last in a workspace, as it was set: fields that are gone since do not matter. None: none ran.

    Raises:
        DamagedError: not a recipe of this version.
    """
    if not (root / RECIPE_FILE).is_file():
        return None
    resolved = read_json(root / RECIPE_FILE)
    name = resolved.get("name") if isinstance(resolved, dict) else None
    as_set = root / RECIPE_FOLDER / f"{name}.json"
    return read_recipe(as_set if as_set.is_file() else root / RECIPE_FILE)


def read_recipe(path: Path) -> Recipe:
    """A recipe that a run left in its workspace; `DamagedError` when it is not one of this version."""
    try:
        return Recipe.model_validate(read_json(path))
    except ValidationError as error:
        remedy = "delete it and run its recipe again: finished steps are reused"
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        problem = f"unknown key {key}" if first["type"] == "extra_forbidden" else f"{key}: {first['msg']}"
        what = f"the recipe was written by another version: {problem}"
        raise DamagedError(what, where=str(path), remedy=remedy) from error


def steps_of_stage(experiment: Experiment, stage: str) -> list[Step]:
    """The experiment's steps of a stage's kinds and everything that they need, in order of priority."""
    chosen = with_inputs(step for step in experiment.steps if step.kind in STAGES[stage])
    wanted = {step.fingerprint for step in chosen}
    return [step for step in experiment.steps if step.fingerprint in wanted]


def _tasks_without_arm(recipe: Recipe, corpus: Step, steps: list[Step]) -> list[Step]:
    """The steps that write what the recipe generates and no arm reads: a task, or more generations than an arm uses."""
    known = {step.fingerprint for step in steps}
    asked = {task: recipe.generate.task(task) for task in recipe.generate.tasks}
    more = [
        generate_step(recipe.generate, task, section.num_generations, corpus)
        for task, section in asked.items()
        if section is not None
    ]
    return [step for step in more if step.fingerprint not in known]


def missing_generations(outcome: ExperimentOutcome, root: Path) -> dict[str, Accounting]:
    """The accounting of the run's published generations that are not complete, by step name."""
    accounting: dict[str, Accounting] = {}
    for state in (state for part in outcome.outcomes for state in part.states):
        artifact = find_artifact(state.step, Workspace(root)) if state.step.kind in ("generate", "sample") else None
        if artifact is not None:
            found = Accounting.from_json(artifact.summary["accounting"])
            if found.missing:
                accounting[state.step.name] = found
    return accounting


def corpus_losses(outcome: ExperimentOutcome, root: Path) -> list[str]:
    """What the source holds and the corpus does not, one sentence a kind."""
    step = next((state.step for part in outcome.outcomes for state in part.states if state.step.kind == "corpus"), None)
    artifact = find_artifact(step, Workspace(root)) if step is not None else None
    return [] if artifact is None else list(loss_lines(artifact.summary["report"]))


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


def copy_to_top(report: Artifact, root: Path) -> None:
    """Copy the report's files to the top of the workspace where they differ; `DamagedError` for an edited one."""
    for name in report.record["files"]:
        if "/" in name:
            continue
        data = report.read_checked(name)
        target = root / name
        if not target.is_file() or target.read_bytes() != data:
            write_bytes_atomic(target, data)
