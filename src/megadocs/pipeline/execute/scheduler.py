"""Run steps: what is published is reused, what is ready starts when slots are free, failures stay local.

A failed step blocks the steps that need it and nothing else. A step that another process is working on is looked at
again until it is published there or the lock is free. Interruption asks the running steps to save, waits, and says so.
"""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from megadocs.errors import DamagedError
from megadocs.pipeline.execute.executor import Executor
from megadocs.pipeline.steps.step import Step, find_artifact
from megadocs.store.artifact import Workspace

Status = Literal["waiting", "running", "reused", "done", "failed", "blocked", "stopped"]

_POLL_SECONDS = 0.25
_LOCKED_RETRY_SECONDS = 1.0


@dataclass(slots=True)
class StepState:
    """Where one step stands."""

    step: Step
    status: Status = "waiting"
    progress: dict[str, Any] = field(default_factory=dict)
    seconds: float = 0.0  # of the work itself, once it is done
    error: dict[str, Any] | None = None  # what, where, remedy and exit_code of a failure
    not_before: float = 0.0  # when a step that another process works on is looked at again; 0: it was never locked
    started: float = 0.0
    held_seconds: float = 0.0  # for which it has held its slots, all attempts together
    cpu_seconds: float = 0.0  # that its worker has used, where the executor tells


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a run of steps ended."""

    states: tuple[StepState, ...]
    interrupted_by: signal.Signals | None  # the signal that ended it early, or None

    @property
    def failures(self) -> list[StepState]:
        """Steps that failed themselves (not those blocked by them)."""
        return [state for state in self.states if state.status == "failed"]

    @property
    def reasons(self) -> dict[str, str]:
        """Fingerprint -> what went wrong, of the steps that failed themselves."""
        return {state.step.fingerprint: str((state.error or {}).get("what")) for state in self.failures}


Listener = Callable[[StepState], None]


def run_steps(
    steps: Sequence[Step], workspace: Workspace, executor: Executor, listener: Listener = lambda state: None
) -> Outcome:
    """Run all steps, inputs first, in the order of the list where there is a choice.

    Args:
        steps: every step once, each after its inputs.
        listener: called whenever a step's state or progress changes.
    """
    with Interrupt() as interrupt:
        scheduler = Scheduler(workspace, executor, interrupt)
        scheduler.add(steps, listener)
        while scheduler.has_open_steps:
            scheduler.advance()
    return Outcome(tuple(scheduler.states.values()), interrupt.signal if interrupt.count else None)


class Scheduler:
    """Steps in the order in which they came; more may come while some run.

    Args:
        interrupt: once it has counted a signal, nothing more is started.

    Attributes:
        states: fingerprint -> state of every step that came.
    """

    def __init__(self, workspace: Workspace, executor: Executor, interrupt: Interrupt) -> None:
        self.states: dict[str, StepState] = {}
        self._open: dict[str, StepState] = {}
        self._listeners: dict[str, Listener] = {}
        self._workspace = workspace
        self._executor = executor
        self._interrupt = interrupt

    @property
    def has_open_steps(self) -> bool:
        """Whether some step waits or runs."""
        return bool(self._open)

    def add(self, steps: Sequence[Step], listener: Listener = lambda state: None) -> None:
        """Take in steps, each after its inputs. One that is known stays as it is, unless it ended without a result."""
        for step in steps:
            known = self.states.get(step.fingerprint)
            if known is None or known.status in ("failed", "blocked", "stopped"):
                state = StepState(step)
                self.states[step.fingerprint] = self._open[step.fingerprint] = state
                self._listeners[step.fingerprint] = listener

    def drop_waiting(self) -> None:
        """Let go of the steps that have not begun."""
        for state in self._open.values():
            if state.status == "waiting":
                self._change(state, "stopped")
        self._close_ended()

    def advance(self) -> None:
        """Start what is ready, wait a moment for events, take them in."""
        self._settle()
        self._close_ended()
        if not self._open:
            return
        if not self._interrupt.count:
            self._start_ready()
        for step, event in self._executor.events(_POLL_SECONDS):
            self._note(self.states[step.fingerprint], event)
        self._close_ended()
        self._interrupt.pass_on(self._executor)

    def _settle(self) -> None:
        """Mark what is published as reused, what cannot be reached as blocked, all that is unstarted after a stop."""
        for state in self._open.values():
            if state.status != "waiting" or state.not_before > time.monotonic():
                continue
            inputs = [self.states.get(needed.fingerprint) for needed in state.step.inputs.values()]
            if any(needed is not None and needed.status in ("failed", "blocked") for needed in inputs):
                self._change(state, "blocked")
            elif self._interrupt.count:
                self._change(state, "stopped")
            else:
                try:
                    if find_artifact(state.step, self._workspace) is not None:
                        self._change(state, "reused")
                except DamagedError as error:
                    state.error = error.to_json()
                    self._change(state, "failed")

    def _start_ready(self) -> None:
        """Start waiting steps in order while slots are free."""
        running = [state.step for state in self._open.values() if state.status == "running"]
        free = self._executor.num_slots - sum(map(self._executor.slots_of, running))
        taken = {step.exclusive for step in running if step.exclusive}
        for state in self._open.values():
            step = state.step
            if free <= 0:
                return
            if state.status != "waiting" or state.not_before > time.monotonic() or step.exclusive in taken:
                continue
            if not all(self._is_there(needed) for needed in step.inputs.values()):
                continue
            slots = self._executor.slots_of(step)
            if slots > free:
                return  # do not let small steps starve a large one
            self._executor.start(step)
            free -= slots
            if step.exclusive:
                taken.add(step.exclusive)
            state.started = time.monotonic()
            self._change(state, "running")

    def _is_there(self, step: Step) -> bool:
        state = self.states.get(step.fingerprint)
        return state is None or state.status in ("done", "reused")

    def _note(self, state: StepState, event: dict[str, Any]) -> None:
        """Take in one event of a running step."""
        if event["event"] != "progress":
            state.held_seconds += time.monotonic() - state.started
            state.cpu_seconds += event.get("cpu_seconds", 0.0)
        match event["event"]:
            case "progress":
                state.progress = event
                self._listeners[state.step.fingerprint](state)
            case "done":
                state.seconds = event["seconds"]
                self._change(state, "done")
            case "locked":
                state.not_before = time.monotonic() + _LOCKED_RETRY_SECONDS
                state.progress = {"note": event["what"]}
                self._change(state, "waiting")
            case "stopped":
                self._change(state, "stopped")
            case _:
                state.error = event
                self._change(state, "failed")

    def _change(self, state: StepState, status: Status) -> None:
        state.status = status
        self._listeners[state.step.fingerprint](state)

    def _close_ended(self) -> None:
        ended = [key for key, state in self._open.items() if state.status not in ("waiting", "running")]
        for key in ended:
            del self._open[key]


class Interrupt:
    """SIGINT, SIGTERM and SIGHUP: the first asks the running steps to save and stop, the second kills them."""

    def __init__(self) -> None:
        self.count = 0
        self.signal = signal.SIGINT
        self._passed_on = 0

    def __enter__(self) -> Interrupt:
        # Python gives signals to the main thread alone; a run in another one (a notebook's, a server's) has none.
        numbers = self._numbers() if threading.current_thread() is threading.main_thread() else ()
        self._previous = {number: signal.signal(number, self._count) for number in numbers}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def pass_on(self, executor: Executor) -> None:
        """Tell the executor about signals it has not heard of."""
        while self._passed_on < self.count:
            self._passed_on += 1
            if self._passed_on == 1:
                executor.stop()
            else:
                executor.kill()

    def _count(self, number: int, _frame: object) -> None:
        self.count += 1
        self.signal = signal.Signals(number)

    def _numbers(self) -> Iterator[signal.Signals]:
        with contextlib.suppress(AttributeError):
            yield from (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
