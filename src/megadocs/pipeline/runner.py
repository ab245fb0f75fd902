"""Carry out steps: what is published is reused, what is ready starts when slots are free, failures stay local.

A failed step blocks the steps that need it and nothing else. A step that another process is working on is looked at
again until it is published there or the lock is free. Interruption asks the running steps to save, waits, and says so.
"""

from __future__ import annotations

import contextlib
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from megadocs.errors import DamagedError
from megadocs.pipeline.executors import Executor
from megadocs.pipeline.step import Step
from megadocs.store.artifact import Artifact, Workspace

Status = Literal["waiting", "running", "reused", "done", "failed", "blocked", "stopped"]

_POLL_SECONDS = 0.25
_LOCKED_RETRY_SECONDS = 1.0


@dataclass(slots=True)
class StepState:
    """Where one step stands. `error` holds what, where, remedy and exit_code of a failure."""

    step: Step
    status: Status = "waiting"
    progress: dict[str, Any] = field(default_factory=dict)
    seconds: float = 0.0
    error: dict[str, Any] | None = None
    not_before: float = 0.0


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a run of steps ended.

    Attributes:
        states: of every step.
        interrupted_by: the signal that ended it early, or None.
    """

    states: tuple[StepState, ...]
    interrupted_by: signal.Signals | None

    @property
    def failures(self) -> list[StepState]:
        """Steps that failed themselves (not those blocked by them)."""
        return [state for state in self.states if state.status == "failed"]


Listener = Callable[[StepState], None]


def run_steps(
    steps: Sequence[Step], workspace: Workspace, executor: Executor, listener: Listener = lambda state: None
) -> Outcome:
    """Carry out all steps, inputs first, in the order of the list where there is a choice.

    Args:
        steps: every step once, each after its inputs.
        workspace: where artifacts are found.
        executor: where steps run.
        listener: called whenever a step's state or progress changes.
    """
    states = {step.fingerprint: StepState(step) for step in steps}
    with Interrupt() as interrupt:
        while True:
            _settle(states, workspace, listener, has_stopped=interrupt.count > 0)
            running = [state for state in states.values() if state.status == "running"]
            waiting = [state for state in states.values() if state.status == "waiting"]
            if not running and not waiting:
                break
            if not interrupt.count:
                _start_ready(states, executor, listener)
            for step, event in executor.events(_POLL_SECONDS):
                _note(states[step.fingerprint], event, listener)
            interrupt.pass_on(executor)
    return Outcome(tuple(states.values()), interrupt.signal if interrupt.count else None)


def find_artifact(step: Step, workspace: Workspace) -> Artifact | None:
    """The step's published artifact, or None; `DamagedError` when its files do not match the record."""
    return workspace.find(step.kind, step.fingerprint)


def _settle(states: dict[str, StepState], workspace: Workspace, listener: Listener, *, has_stopped: bool) -> None:
    """Mark what is published as reused, what cannot be reached as blocked, and everything unstarted after a stop."""
    for state in states.values():
        if state.status != "waiting" or state.not_before > time.monotonic():
            continue
        inputs = [states[needed.fingerprint] for needed in state.step.inputs.values() if needed.fingerprint in states]
        if any(needed.status in ("failed", "blocked") for needed in inputs):
            _change(state, "blocked", listener)
        elif has_stopped:
            _change(state, "stopped", listener)
        else:
            try:
                if find_artifact(state.step, workspace) is not None:
                    _change(state, "reused", listener)
            except DamagedError as error:
                state.error = error.to_json()
                _change(state, "failed", listener)


def _start_ready(states: dict[str, StepState], executor: Executor, listener: Listener) -> None:
    """Start waiting steps in order while slots are free."""
    running = [state.step for state in states.values() if state.status == "running"]
    free = executor.num_slots - sum(min(step.slots or executor.num_slots, executor.num_slots) for step in running)
    taken = {step.exclusive for step in running if step.exclusive}
    for state in states.values():
        step = state.step
        if free <= 0:
            return
        if state.status != "waiting" or state.not_before > time.monotonic() or step.exclusive in taken:
            continue
        if not all(_is_there(states, needed) for needed in step.inputs.values()):
            continue
        slots = min(step.slots or executor.num_slots, executor.num_slots)
        if slots > free:
            return  # do not let small steps starve a large one
        executor.start(step)
        free -= slots
        if step.exclusive:
            taken.add(step.exclusive)
        _change(state, "running", listener)


def _is_there(states: dict[str, StepState], step: Step) -> bool:
    state = states.get(step.fingerprint)
    return state is None or state.status in ("done", "reused")


def _note(state: StepState, event: dict[str, Any], listener: Listener) -> None:
    """Take in one event of a running step."""
    match event["event"]:
        case "progress":
            state.progress = event
            listener(state)
        case "done":
            state.seconds = event["seconds"]
            _change(state, "done", listener)
        case "locked":
            state.not_before = time.monotonic() + _LOCKED_RETRY_SECONDS
            state.progress = {"note": event["what"]}
            _change(state, "waiting", listener)
        case "stopped":
            _change(state, "stopped", listener)
        case _:
            state.error = event
            _change(state, "failed", listener)


def _change(state: StepState, status: Status, listener: Listener) -> None:
    state.status = status
    listener(state)


class Interrupt:
    """SIGINT, SIGTERM and SIGHUP: the first asks the running steps to save and stop, the second kills them."""

    def __init__(self) -> None:
        self.count = 0
        self.signal = signal.SIGINT
        self._passed_on = 0

    def __enter__(self) -> Interrupt:
        self._previous = {number: signal.signal(number, self._count) for number in self._numbers()}
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
