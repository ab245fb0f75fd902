"""Carry out a search: rounds of trials until every arm has its certificate or a budget ends.

    outcome = run_search(recipe, Path("runs/tuning"), show=show_progress)
    outcome.arms[0].certificate.kind

Validation loss (windowed as in training) decides; the test loss is shown only at the settings of a certificate. The
state of a search is the workspace's published artifacts and nothing else: it begins each time at the start of its walk,
and what is published costs a look-up. So a killed search goes on where it stopped, two drivers share the work (each
artifact has its lock), and the trials do not depend on what was interrupted. `search.json` is written for readers after
every round.
"""

from __future__ import annotations

import json
import signal
import time
from itertools import zip_longest
from pathlib import Path

from megadocs.errors import DamagedError, InputError, MegadocsError
from megadocs.pipeline.executors import Executor
from megadocs.pipeline.executors.local import LocalExecutor
from megadocs.pipeline.experiment import Show, corpus_facts, no_progress
from megadocs.pipeline.runner import Outcome, find_artifact, run_steps
from megadocs.pipeline.search_results import DECIDES, REPORTED, ArmSearch, Ending, SearchOutcome, TrialResult
from megadocs.pipeline.search_space import ArmSpace, TrialSteps, build_spaces, trial_steps
from megadocs.pipeline.sources import sources_step
from megadocs.pipeline.step import Step
from megadocs.pipeline.steps import CorpusFacts, Run
from megadocs.recipe import Recipe
from megadocs.search import Trial
from megadocs.store.artifact import Workspace
from megadocs.store.files import write_bytes_atomic

#: At the top of the workspace.
SEARCH_FILE = "search.json"


def run_search(
    recipe: Recipe,
    root: Path,
    *,
    num_slots: int | None = None,
    max_runs: int | None = None,
    max_hours: float | None = None,
    show: Show = no_progress,
    allow_code: bool = False,
    executor: Executor | None = None,
) -> SearchOutcome:
    """Search every arm of the recipe's section `search`.

    Args:
        recipe: with that section.
        root: the workspace.
        num_slots: steps side by side; None is one per core.
        max_runs: trials over all arms, reused ones included; None: the recipe's.
        max_hours: no round begins later than this; None: the recipe's.
        show: makes a listener for a number of steps.
        allow_code: load orderings of the form module:attribute.
        executor: where steps run, closed at the end; None: processes of this machine.

    Raises:
        MegadocsError: a step that all trials need (corpus, generation, rows) failed.
    """
    spaces = build_spaces(recipe)
    executor = executor or LocalExecutor(root, num_slots)
    try:
        return _Driver(recipe, root, spaces, executor, show, allow_code=allow_code).run(max_runs, max_hours)
    finally:
        executor.close()


class _Driver:
    """Rounds of trials."""

    def __init__(
        self, recipe: Recipe, root: Path, spaces: list[ArmSpace], executor: Executor, show: Show, *, allow_code: bool
    ) -> None:
        assert recipe.search is not None
        self._recipe = recipe
        self._config = recipe.search
        self._workspace = Workspace(root)
        self._executor = executor
        self._show = show
        self._allow_code = allow_code
        self._corpus = sources_step(recipe)
        self._started = time.monotonic()
        self._spaces = spaces
        self._arms: tuple[ArmSearch, ...] = ()
        self._left_out: dict[str, str] = {}

    def run(self, max_runs: int | None, max_hours: float | None) -> SearchOutcome:
        """Until certificates, budget or interruption."""
        max_runs = self._config.max_runs if max_runs is None else max_runs
        max_hours = self._config.max_hours if max_hours is None else max_hours
        made = self._run_steps([self._corpus])
        if made.interrupted_by is not None:
            return self._outcome("interrupted", made.interrupted_by)
        _raise_shared_failure(made)
        artifact = find_artifact(self._corpus, self._workspace)
        assert artifact is not None
        facts = corpus_facts(artifact)
        self._choose_arms(facts)
        while True:
            wanted = self._wanted()
            if not wanted:
                return self._outcome("finished")
            if max_runs is not None:
                wanted = wanted[: max(0, max_runs - sum(len(arm.results) for arm in self._arms))]
                if not wanted:
                    return self._outcome("max_runs")
            pairs = [(arm.space, trial) for arm, trial in wanted]
            needed = trial_steps(self._recipe, pairs, self._corpus, facts, allow_code=self._allow_code)
            missing = [run for run in needed.runs.values() if not self._is_published(run)]
            ended = None
            if missing:
                if max_hours is not None and time.monotonic() - self._started > max_hours * 3600:
                    return self._outcome("max_hours")
                ended = self._run_steps(list(needed.steps))
                if ended.interrupted_by is not None:
                    self._note(wanted, needed, ended)
                    return self._outcome("interrupted", ended.interrupted_by)
                _raise_shared_failure(ended)
            self._note(wanted, needed, ended)
            if missing:
                self._write("unfinished")  # what a reader finds when this process dies now

    def _choose_arms(self, facts: CorpusFacts) -> None:
        chosen = []
        for space in self._spaces:
            multiple = space.arm.recipe.mixture.real_multiple
            if multiple > facts.max_multiple:
                have = f"the corpus has {facts.max_multiple * facts.num_train_1x}"
                self._left_out[space.arm.name] = f"needs {multiple * facts.num_train_1x} training documents, {have}"
            else:
                chosen.append(ArmSearch(space, list(self._recipe.seeds), self._config.confidence))
        if not chosen:
            raise InputError("the corpus cannot serve any arm", where="search.arms", remedy="lower real_multiple")
        self._arms = tuple(chosen)

    def _wanted(self) -> list[tuple[ArmSearch, Trial]]:
        """The next trials of all arms, the arms taking turns."""
        by_arm = [[(arm, trial) for trial in arm.wanted(self._config.round_size)] for arm in self._arms]
        return [pair for turn in zip_longest(*by_arm) for pair in turn if pair is not None]

    def _is_published(self, run: Run) -> bool:
        try:
            return all(find_artifact(step, self._workspace) is not None for step in (run.train, run.evaluate))
        except DamagedError:
            return False

    def _run_steps(self, steps: list[Step]) -> Outcome:
        with self._show(len(steps)) as listener:
            return run_steps(steps, self._workspace, self._executor, listener)

    def _note(self, wanted: list[tuple[ArmSearch, Trial]], needed: TrialSteps, ended: Outcome | None) -> None:
        """Take in a round's results; of an interrupted round what it finished. `ended` is None when nothing ran."""
        states = {state.step.fingerprint: state for state in ended.states} if ended else {}
        for arm, trial in wanted:
            key = (arm.space.arm.name, trial)
            run = needed.runs.get(key)
            if run is not None and self._is_published(run):
                state = states.get(run.train.fingerprint)
                is_new = state is not None and state.status == "done"
                arm.results[trial] = self._result(arm.space, trial, run, is_new=is_new)
            elif ended is None or ended.interrupted_by is None:
                own = [states.get(step.fingerprint) for step in (run.train, run.evaluate)] if run else []
                errors = [str(state.error["what"]) for state in own if state and state.error]
                why = (errors or [needed.impossible.get(key, "not finished")])[0]
                setting, fingerprint = arm.space.grid.setting(trial.point), run.train.fingerprint if run else None
                arm.results[trial] = TrialResult(trial.seed, setting, fingerprint, None, error=why)

    def _result(self, space: ArmSpace, trial: Trial, run: Run, *, is_new: bool) -> TrialResult:
        train, evaluate = find_artifact(run.train, self._workspace), find_artifact(run.evaluate, self._workspace)
        assert train is not None and evaluate is not None
        summary, losses = train.summary, evaluate.summary["losses"]
        return TrialResult(
            trial.seed,
            space.grid.setting(trial.point),
            run.train.fingerprint,
            loss=losses[DECIDES]["nats_per_token"],
            test_loss=losses[REPORTED]["nats_per_token"],
            num_tokens=summary["num_tokens"],
            flops=summary["flops"],
            seconds=summary["training_seconds"],
            is_new=is_new,
        )

    def _outcome(self, ending: Ending, number: signal.Signals | None = None) -> SearchOutcome:
        self._write(ending)
        seconds = time.monotonic() - self._started
        return SearchOutcome(self._recipe.name, self._arms, ending, number, self._left_out, seconds)

    def _write(self, ending: Ending) -> None:
        seconds = time.monotonic() - self._started
        outcome = SearchOutcome(self._recipe.name, self._arms, ending, None, self._left_out, seconds)
        data = json.dumps(outcome.to_json(), indent=1, ensure_ascii=False, allow_nan=False)
        self._workspace.root.mkdir(parents=True, exist_ok=True)
        write_bytes_atomic(self._workspace.root / SEARCH_FILE, data.encode("utf-8"))


def _raise_shared_failure(outcome: Outcome) -> None:
    """A failed step that is not a trial's own ends the search: every trial would wait for it."""
    for state in outcome.failures:
        if state.step.kind not in ("train", "evaluate"):
            error = state.error or {}
            failure = MegadocsError(
                f"{state.step.name}: {error.get('what')}", where=error.get("where"), remedy=error.get("remedy")
            )
            failure.exit_code = error.get("exit_code") or 1
            raise failure
