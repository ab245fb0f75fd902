"""Worker processes of this machine: a step that does not stop by itself is ended within seconds of the signal."""

from __future__ import annotations

import os
import signal
import time

import pytest

from megadocs.pipeline.execute.local import LocalExecutor
from megadocs.pipeline.steps.step import Step


def first_event(executor, seconds=60):
    began = time.monotonic()
    while time.monotonic() - began < seconds:
        if found := [pair for pair in executor.events(0.2) if pair[1]["event"] != "progress"]:
            return found, time.monotonic() - began
    raise AssertionError("nothing happened")


@pytest.mark.parametrize("kind", ["report", "evaluate", "rows"])
def test_a_step_that_ignores_a_signal_is_killed_within_seconds(tmp_path, kind):
    executor = LocalExecutor(tmp_path, num_slots=1)
    executor.start(Step(kind, "first", {}, {}))
    assert first_event(executor)[0][0][1]["event"] == "failed"  # it has no inputs; its worker is ready for the next
    (worker,) = executor._idle[1]
    os.kill(worker._process.pid, signal.SIGSTOP)  # as deaf as a long call into a library
    step = Step(kind, "second", {"second": True}, {})
    executor.start(step)
    try:
        executor.stop()
        found, seconds = first_event(executor)
        assert found == [(step, {"event": "stopped"})]
        assert 4 < seconds < 15
        assert worker._process.poll() == -signal.SIGKILL
    finally:
        executor.close()


def test_a_worker_that_is_stopped_while_it_starts_has_not_failed(tmp_path):
    executor = LocalExecutor(tmp_path, num_slots=1)
    step = Step("rows", "rows", {}, {})
    executor.start(step)
    try:
        executor.stop()
        assert first_event(executor)[0] == [(step, {"event": "stopped"})]
    finally:
        executor.close()
