"""The runner over an executor that runs nothing: order, slots, exclusion, failures, locks, interruption."""

from __future__ import annotations

import os
import signal

import pytest

from megadocs.pipeline.execute.scheduler import run_steps
from megadocs.pipeline.steps.step import Step
from megadocs.store.artifact import Workspace


class ScriptedExecutor:
    """Ends each running step at the next call of `events`, as its script says; the default is to publish it."""

    def __init__(self, workspace, num_slots=2, script=None):
        self.num_slots = num_slots
        self.workspace = workspace
        self.script = script or {}
        self.running = []
        self.rounds = []
        self.calls = []

    def slots_of(self, step):
        return min(step.slots or self.num_slots, self.num_slots)

    def start(self, step):
        self.running.append(step)

    def events(self, timeout_seconds):
        self.rounds.append([step.name for step in self.running])
        ended, self.running = self.running, []
        return [(step, self._end(step)) for step in ended]

    def _end(self, step):
        says = self.script.get(step.name, [{"event": "done", "seconds": 1.0}])
        event = says.pop(0) if len(says) > 1 else says[0]
        if callable(event):
            event = event()
        if event["event"] == "done":
            with self.workspace.build(step.kind, step.fingerprint, config={}, inputs={}):
                pass
        return event

    def stop(self):
        self.calls.append("stop")

    def kill(self):
        self.calls.append("kill")


def step(name, *inputs, **kwargs):
    return Step("train", name, {"name": name}, {"name": name}, {needed.name: needed for needed in inputs}, **kwargs)


@pytest.fixture
def workspace(tmp_path):
    return Workspace(tmp_path)


def statuses(outcome):
    return {state.step.name: state.status for state in outcome.states}


def test_inputs_first_then_in_order_within_the_slots(workspace):
    a, b = step("a"), step("b")
    c = step("c", a, b)
    executor = ScriptedExecutor(workspace)
    assert set(statuses(run_steps([a, b, step("d"), c], workspace, executor)).values()) == {"done"}
    assert executor.rounds == [["a", "b"], ["d", "c"]]
    again = ScriptedExecutor(workspace)
    assert set(statuses(run_steps([a, b, c], workspace, again)).values()) == {"reused"}
    assert again.rounds == []


def test_a_large_step_waits_for_all_slots_and_is_not_starved(workspace):
    steps = [step("small"), step("large", slots=None), step("later")]
    executor = ScriptedExecutor(workspace)
    run_steps(steps, workspace, executor)
    assert executor.rounds == [["small"], ["large"], ["later"]]


def test_exclusive_steps_never_run_together(workspace):
    steps = [step("a", exclusive="ledger"), step("b", exclusive="ledger"), step("c")]
    executor = ScriptedExecutor(workspace)
    run_steps(steps, workspace, executor)
    assert executor.rounds == [["a", "c"], ["b"]]


def test_a_failure_blocks_its_users_and_nothing_else(workspace):
    bad, good = step("bad"), step("good")
    failed = {"event": "failed", "what": "no", "where": None, "remedy": None, "exit_code": 1}
    executor = ScriptedExecutor(workspace, script={"bad": [failed]})
    outcome = run_steps([bad, good, step("user", bad), step("user of user", step("user", bad))], workspace, executor)
    assert statuses(outcome) == {"bad": "failed", "good": "done", "user": "blocked", "user of user": "blocked"}
    assert [state.error["what"] for state in outcome.failures] == ["no"]


def test_a_locked_step_is_tried_again(workspace, monkeypatch):
    monkeypatch.setattr("megadocs.pipeline.execute.scheduler._LOCKED_RETRY_SECONDS", 0.0)
    locked = {"event": "locked", "what": "train a is in use by process 1"}
    script = {"a": [locked, locked, {"event": "done", "seconds": 1.0}]}
    executor = ScriptedExecutor(workspace, script=script)
    assert statuses(run_steps([step("a")], workspace, executor)) == {"a": "done"}
    assert executor.rounds == [["a"], ["a"], ["a"]]


def test_a_signal_asks_running_steps_to_stop_and_starts_no_more(workspace):
    def interrupt():
        os.kill(os.getpid(), signal.SIGTERM)
        return {"event": "stopped"}

    executor = ScriptedExecutor(workspace, num_slots=1, script={"a": [interrupt]})
    outcome = run_steps([step("a"), step("b")], workspace, executor)
    assert outcome.interrupted_by == signal.SIGTERM
    assert statuses(outcome) == {"a": "stopped", "b": "stopped"}
    assert executor.calls == ["stop"]
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
