"""How a search stands: what its watcher sees, what `search.json` holds, how busy the slots are."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from megadocs.pipeline.execute.executor import Executor
from megadocs.pipeline.execute.scheduler import Interrupt, Scheduler, StepState
from megadocs.pipeline.steps.search_records import SEARCH_FILE, SEARCH_FOLDER
from megadocs.pipeline.tune.results import ArmSearch, Ending, SearchOutcome, Utilisation
from megadocs.pipeline.tune.trials import TrialRunner
from megadocs.store.artifact import Workspace
from megadocs.store.files import make_directory, write_bytes_atomic

#: `search.json` is written, and the watcher called, at most so often.
_WRITE_SECONDS = 3.0
_WATCH_SECONDS = 0.5


class Watcher(Protocol):
    """Receives progress."""

    def step(self, state: StepState) -> None:
        """A step that trials share (corpus, generation, rows) has changed."""

    def search(self, outcome: SearchOutcome) -> None:
        """How the search stands; about twice a second."""


class NoWatcher:
    """Looks at nothing."""

    def step(self, state: StepState) -> None:
        """Ignore it."""

    def search(self, outcome: SearchOutcome) -> None:
        """Ignore it."""


@dataclass(slots=True, eq=False)
class Standing:
    """Shows and records one call of `run_search`."""

    name: str
    workspace: Workspace  # where `search.json` goes
    executor: Executor  # with the scheduler: whose use of slots is measured
    scheduler: Scheduler
    interrupt: Interrupt  # whose signal is told
    watcher: Watcher
    budget: Mapping[str, float | None]  # max_runs, max_hours, compute_matched_epochs
    arms: tuple[ArmSearch, ...] = ()  # once they are chosen
    left_out: dict[str, str] = field(default_factory=dict)  # arm -> why the corpus cannot serve it
    trials: TrialRunner | None = None  # once trials can begin
    _started: float = field(default_factory=time.monotonic)
    _last_written: float = field(default_factory=time.monotonic)
    _last_watched: float = field(default_factory=time.monotonic)

    @property
    def seconds(self) -> float:
        """Since the call began."""
        return time.monotonic() - self._started

    def show(self) -> None:
        """Tell the watcher and write the file, each at most so often."""
        now = time.monotonic()
        if now - self._last_watched >= _WATCH_SECONDS:
            self._last_watched = now
            self.watcher.search(self._outcome("unfinished"))
        if now - self._last_written >= _WRITE_SECONDS:
            self._last_written = now
            self._write(self._outcome("unfinished"))  # what a reader finds when this process dies now

    def end(self, ending: Ending) -> SearchOutcome:
        """The outcome, told and written."""
        outcome = self._outcome(ending)
        self.watcher.search(outcome)
        self._write(outcome)
        return outcome

    def _outcome(self, ending: Ending) -> SearchOutcome:
        rounds = {arm.space.arm.name: arm.rounds for arm in self.arms}
        return SearchOutcome(
            self.name,
            self.arms,
            ending,
            self.interrupt.signal if self.interrupt.count else None,
            self.left_out,
            self._utilisation(),
            self.budget,
            self.trials.running(rounds) if self.trials is not None and ending == "unfinished" else (),
        )

    def _utilisation(self) -> Utilisation:
        now, num_slots = time.monotonic(), self.executor.num_slots
        held = cpu = 0.0
        for state in self.scheduler.states.values():
            running = now - state.started if state.status == "running" else 0.0
            held += (state.held_seconds + running) * self.executor.slots_of(state.step)
            cpu += state.cpu_seconds
        return Utilisation(num_slots, now - self._started, held, cpu)

    def _write(self, outcome: SearchOutcome) -> None:
        data = json.dumps(outcome.to_json(), indent=1, ensure_ascii=False, allow_nan=False).encode("utf-8")
        make_directory(self.workspace.root / SEARCH_FOLDER)
        for path in (SEARCH_FILE, f"{SEARCH_FOLDER}/{self.name}.json"):
            write_bytes_atomic(self.workspace.root / path, data)
