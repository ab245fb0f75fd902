"""Run a search: trials until every arm has its certificate or a budget ends.

    outcome = run_search(recipe, Path("runs/tuning"), watcher=watcher)
    outcome.arms[0].certificate.kind

Validation loss (windowed as in training) decides; the test loss is shown only at the settings of a certificate. The
state of a search is the workspace's published artifacts and nothing else: it begins each time at the start of its walk,
and what is published costs a look-up. So a killed search goes on where it stopped, two drivers share the work (each
artifact has its lock), and the trials that count do not depend on what was interrupted.

There are no barriers: a trial begins as soon as slots are free and its walk certainly asks for it. When none is left,
the next trial of a walk begins ahead of its round; results enter the walks round by round (`search/rounds.py`), so that
this changes the time that a search takes and nothing else.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

from megadocs.corpus import read_corpus
from megadocs.errors import InputError, MegadocsError
from megadocs.pipeline.execute.executor import Executor
from megadocs.pipeline.execute.local import LocalExecutor
from megadocs.pipeline.execute.scheduler import Interrupt, Scheduler, StepState
from megadocs.pipeline.stages.published_gaps import refuse_gaps, steps_before_gaps
from megadocs.pipeline.steps.experiment import CorpusFacts, build_experiment, tokenizer_step
from megadocs.pipeline.steps.places import check_places, fetch_named
from megadocs.pipeline.steps.rows import real_rows_step
from megadocs.pipeline.steps.sources import corpus_facts, sources_step
from megadocs.pipeline.steps.step import Step, find_artifact
from megadocs.pipeline.tune.matched_compute import count_real_tokens
from megadocs.pipeline.tune.results import ArmSearch, Ending, SearchOutcome
from megadocs.pipeline.tune.space import ArmSpace, build_spaces
from megadocs.pipeline.tune.standing import NoWatcher, Standing, Watcher
from megadocs.pipeline.tune.trials import TrialRunner
from megadocs.recipe import Recipe, build_arms
from megadocs.recipe.consent import check_consent
from megadocs.recipe.references import check_blocks
from megadocs.search import LocalWalk, Walks
from megadocs.store.artifact import Artifact, Workspace
from megadocs.train.trackers import require_trackers


def run_search(
    recipe: Recipe,
    root: Path,
    *,
    num_slots: int | None = None,
    max_runs: int | None = None,
    max_hours: float | None = None,
    watcher: Watcher | None = None,
    allow_code: bool = False,
    executor: Executor | None = None,
) -> SearchOutcome:
    """Search every arm of the recipe's section `search`.

    Args:
        max_runs: trials over all arms, reused ones included; None: the recipe's.
        max_hours: no new trial starts after so many hours; None: the recipe's.
        executor: where steps run, closed at the end; None: processes of this machine.

    Raises:
        MegadocsError: a step that all trials need (corpus, generation, rows) failed.
        ConsentError: see `run_experiment`.
    """
    build_spaces(recipe)  # an error of the recipe before anything is started
    assert recipe.search is not None
    if "train.batch_size" not in recipe.search.axes:
        check_blocks(build_arms(recipe))
    executor = executor or LocalExecutor(root, num_slots)
    max_runs = recipe.search.max_runs if max_runs is None else max_runs
    max_hours = recipe.search.max_hours if max_hours is None else max_hours
    try:
        check_consent(recipe)
        require_trackers([name for arm in build_arms(recipe) for name in arm.recipe.train.trackers])
        check_places(recipe)
        return search_arms(
            recipe, root, executor, max_runs=max_runs, max_hours=max_hours, watcher=watcher, allow_code=allow_code
        )
    finally:
        executor.close()


def search_arms(
    recipe: Recipe,
    root: Path,
    executor: Executor,
    *,
    max_runs: int | None,
    max_hours: float | None,
    watcher: Watcher | None = None,
    allow_code: bool = False,
) -> SearchOutcome:
    """The search within a larger run: consent was asked, and the executor stays open. See `run_search`."""
    spaces = build_spaces(recipe)
    with Interrupt() as interrupt:
        driver = _Driver(recipe, root, executor, interrupt, watcher or NoWatcher(), max_runs, max_hours)
        return driver.run(spaces, allow_code=allow_code)


class _Driver:
    """One call of `run_search`: begins trials, waits, takes in what has ended."""

    def __init__(
        self,
        recipe: Recipe,
        root: Path,
        executor: Executor,
        interrupt: Interrupt,
        watcher: Watcher,
        max_runs: int | None,
        max_hours: float | None,
    ) -> None:
        assert recipe.search is not None
        self._recipe = recipe
        self._config = recipe.search
        self._workspace = Workspace(root)
        self._executor = executor
        self._interrupt = interrupt
        self._scheduler = Scheduler(self._workspace, executor, interrupt)
        self._watcher = watcher
        self._max_runs = max_runs
        self._max_hours = max_hours
        budget = {
            "max_runs": max_runs,
            "max_hours": max_hours,
            "compute_matched_epochs": self._config.compute_matched_epochs,
        }
        self._standing = Standing(recipe.name, self._workspace, executor, self._scheduler, interrupt, watcher, budget)
        self._shared_failure: MegadocsError | None = None

    def run(self, spaces: list[ArmSpace], *, allow_code: bool) -> SearchOutcome:
        """Until certificates, budget or interruption."""
        corpus = sources_step(self._recipe, self._workspace)
        artifact = self._make_shared(corpus)
        if artifact is None:
            return self._standing.end("interrupted")
        facts = corpus_facts(artifact)
        build = partial(build_experiment, self._recipe, corpus, facts, allow_code=allow_code)
        if isinstance(self._executor, LocalExecutor):  # the nodes of a cluster fetch for themselves
            fetch_named(self._recipe, build, self._workspace)
        if self._config.compute_matched_epochs is not None:
            tokenizer = tokenizer_step(self._recipe, corpus)
            rows = self._make_shared(tokenizer, real_rows_step(corpus, tokenizer))
            if rows is None:
                return self._standing.end("interrupted")
            multiples = {number for space in spaces for number in space.real_multiples if number <= facts.max_multiple}
            tokens = count_real_tokens(rows, self._workspace, read_corpus(artifact.path), multiples)
            spaces = [space.with_real_tokens(tokens) for space in spaces]
        if self._recipe.published is not None:
            experiment = build()
            names = {space.arm.name for space in spaces}
            needed = steps_before_gaps(experiment, names)
            if needed and self._make_shared(*needed) is None:
                return self._standing.end("interrupted")
            refuse_gaps(experiment, self._workspace, names)
        walks = self._choose_arms(spaces, facts)
        trials = self._standing.trials = TrialRunner(
            self._recipe,
            self._workspace,
            self._scheduler,
            corpus,
            facts,
            slots_of=self._executor.slots_of,
            listener=self._note_shared,
            allow_code=allow_code,
        )
        ending = self._work(walks, trials)
        self._let_go()
        return self._standing.end(ending)

    @property
    def _arms(self) -> tuple[ArmSearch, ...]:
        return self._standing.arms

    def _make_shared(self, *steps: Step) -> Artifact | None:
        """Run steps that all trials need; the artifact of the last one, None after an interruption."""
        self._scheduler.add(steps, self._note_shared)
        while self._scheduler.has_open_steps:
            self._scheduler.advance()
        self._raise_shared_failure()
        return find_artifact(steps[-1], self._workspace)

    def _work(self, walks: Walks, trials: TrialRunner) -> Ending:
        """Begin trials, wait, take in what has ended."""
        while True:
            walks.take_in([arm.known for arm in self._arms])
            if walks.is_finished:
                return "max_runs" if any(walk.is_cut for walk in walks.walks) else "finished"
            may_begin = not self._interrupt.count and not self._is_late()
            if self._begin_needed(walks, trials, may_begin=may_begin):
                continue  # something was there already: the walk goes on
            if may_begin:
                self._begin_ahead(walks, trials)
            elif not self._scheduler.has_open_steps:
                return "interrupted" if self._interrupt.count else "max_hours"
            self._scheduler.advance()
            self._raise_shared_failure()
            for name, trial, result in trials.take_ended():
                next(arm for arm in self._arms if arm.space.arm.name == name).results[trial] = result
            self._standing.show()

    def _begin_needed(self, walks: Walks, trials: TrialRunner, *, may_begin: bool) -> bool:
        """Begin what the walks certainly ask for, as far as slots are free; whether a result was there at once."""
        has_result = False
        for number, trial in walks.needed():
            arm = self._arms[number]
            if trial in arm.results or trial in trials.trials_of(arm.space):
                continue
            result = trials.find(arm.space, trial)
            if result is not None:
                arm.results[trial] = result
                has_result = True
            elif may_begin and trials.num_taken_slots < self._executor.num_slots:
                trials.begin(arm.space, trial)
        return has_result

    def _begin_ahead(self, walks: Walks, trials: TrialRunner) -> None:
        """Fill the slots that are left with the next trials of the walks, the arms taking turns."""
        for index, arm in enumerate(self._arms):
            is_full = trials.num_taken_slots >= self._executor.num_slots
            if is_full or not walks.may_begin_ahead(self._num_unasked(trials)):
                return
            trial = walks.ahead(index, arm.known, trials.trials_of(arm.space))
            if trial is None:
                continue
            result = trials.find(arm.space, trial)
            if result is not None:
                arm.results[trial] = result
            else:
                trials.begin(arm.space, trial)

    def _num_unasked(self, trials: TrialRunner) -> int:
        """Trials that this call has begun or made and that no walk has asked for."""
        made = sum(result.is_new for arm in self._arms for result in arm.wasted.values())
        return made + sum(trial not in arm.rounds for arm in self._arms for trial in trials.trials_of(arm.space))

    def _choose_arms(self, spaces: list[ArmSpace], facts: CorpusFacts) -> Walks:
        chosen = []
        for space in spaces:
            multiple = space.arm.recipe.mixture.real_multiple
            if multiple > facts.max_multiple:
                have = f"the corpus has {facts.max_multiple * facts.num_train_1x}"
                need = f"needs {multiple * facts.num_train_1x} training documents"
                self._standing.left_out[space.arm.name] = f"{need}, {have}"
            else:
                chosen.append(space)
        if not chosen:
            raise InputError("the corpus cannot serve any arm", where="search.arms", remedy="lower real_multiple")
        seeds, config = self._recipe.seeds, self._config
        walks = Walks(
            [LocalWalk(space.grid, space.start, seeds, config.confidence, config.round_size) for space in chosen],
            max_runs=self._max_runs,
        )
        self._standing.arms = tuple(
            ArmSearch(space, walk, list(seeds), config.confidence)
            for space, walk in zip(chosen, walks.walks, strict=True)
        )
        return walks

    def _is_late(self) -> bool:
        return self._max_hours is not None and self._standing.seconds > self._max_hours * 3600

    def _let_go(self) -> None:
        """Ask trials begun ahead that are still running to save and stop: nobody waits for them any more."""
        self._scheduler.drop_waiting()
        if self._scheduler.has_open_steps:
            self._executor.stop()
        while self._scheduler.has_open_steps:
            self._scheduler.advance()

    def _note_shared(self, state: StepState) -> None:
        """A step that trials share; when it fails the search ends, because every trial would wait for it."""
        self._watcher.step(state)
        if state.status == "failed":
            error = state.error or {}
            failure = MegadocsError(
                f"{state.step.name}: {error.get('what')}", where=error.get("where"), remedy=error.get("remedy")
            )
            failure.exit_code = error.get("exit_code") or 1
            self._shared_failure = failure

    def _raise_shared_failure(self) -> None:
        if self._shared_failure is not None:
            raise self._shared_failure
