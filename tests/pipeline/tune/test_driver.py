"""The driver over an executor that trains nothing: order of events, trials ahead, budgets, use of the slots."""

from __future__ import annotations

import dataclasses
import io
import math
import time

import numpy as np
import pytest
from rich.console import Console

from megadocs.cli.search_live import LiveDisplay, PlainDisplay
from megadocs.cli.status import search_lines
from megadocs.pipeline.status import read_status
from megadocs.pipeline.tune.driver import run_search
from megadocs.pipeline.tune.results import RunningTrial
from megadocs.recipe import Recipe
from megadocs.store.artifact import Workspace


class MadeUpTraining:
    """Publishes made-up losses; of the running steps one at a time ends, drawn at random."""

    def __init__(self, root, num_slots=2, seed=0, seconds=0.0, poison=None):
        self.num_slots, self.seconds, self.poison = num_slots, seconds, poison or {}
        self._workspace, self._draw = Workspace(root), np.random.default_rng(seed)
        self.running, self.trained, self.most_at_once, self.calls = [], [], 0, []

    def slots_of(self, step):
        return min(step.slots or self.num_slots, self.num_slots)

    def start(self, step):
        self.running.append(step)
        self.most_at_once = max(self.most_at_once, len(self.running))
        assert sum(map(self.slots_of, self.running)) <= self.num_slots

    def events(self, timeout_seconds):
        if not self.running:
            return []
        time.sleep(self.seconds)
        step = self.running.pop(self._draw.integers(len(self.running)))
        if "stop" in self.calls and step.kind == "train":
            return [(step, {"event": "stopped"})]
        inputs = {role: needed.fingerprint for role, needed in step.inputs.items()}
        with self._workspace.build(step.kind, step.fingerprint, config=step.config, inputs=inputs) as build:
            build.summary.update(self._summary(step))
        if step.kind == "train":
            self.trained.append(step.fingerprint)
        return [(step, {"event": "done", "seconds": self.seconds, "cpu_seconds": self.seconds})]

    def stop(self):
        self.calls.append("stop")

    def kill(self):
        self.calls.append("kill")

    def close(self):
        self.calls.append("close")

    def _summary(self, step):
        if step.kind == "evaluate":
            train = step.inputs["train"].config
            values, beta = train["train"], train["train"]["beta1"]
            bowl = (math.log2(values["weight_decay"]) - 1) ** 2 + (math.log2(values["real_epochs"]) - beta) ** 2
            noise = np.random.default_rng([int(4 * values["weight_decay"]), train["seed"]]).normal(0, 0.002)
            loss = {"nats_per_token": 3.0 + 0.05 * bowl + noise}
            return {"losses": {"validation windowed": loss, "test windowed": loss}}
        counts = {"num_train_1x": 55, "max_multiple": 1}
        return counts | {"num_tokens": 1, "flops": 1.0, "training_seconds": 1.0, "num_steps": 1}


@pytest.fixture
def recipe(tmp_path):
    source = tmp_path / "texts"
    source.mkdir()
    (source / "one.txt").write_text("A text.", encoding="utf-8")
    axes = {"train.weight_decay": [0.5, 1, 2, 4, 8], "train.real_epochs": [1, 2, 4, 8]}
    return Recipe.model_validate(
        {
            "name": "made_up",
            "corpus": {"source": str(source), "split": "auto"},
            "arms": {"one": {"train.beta1": 0.9}, "two": {"train.beta1": 0.5}},
            "seeds": [0, 1, 2],
            "search": {"axes": {name: {"values": values} for name, values in axes.items()}},
        }
    )


def with_search(recipe, **changes):
    return recipe.model_copy(update={"search": recipe.search.model_copy(update=changes)})


def decided(outcome):
    """What must not depend on order, slots or what began ahead."""
    return [(arm.certificate, list(arm.walk.losses.items())) for arm in outcome.arms]


@pytest.mark.parametrize("max_runs", [None, 9])
def test_the_outcome_does_not_depend_on_the_order_in_which_trials_end(recipe, tmp_path, max_runs):
    recipe = with_search(recipe, max_runs=max_runs)
    outcomes = []
    for number, num_slots in enumerate([1, 2, 3, 5]):
        executor = MadeUpTraining(tmp_path / f"ws{number}", num_slots, seed=number)
        outcome = run_search(recipe, tmp_path / f"ws{number}", executor=executor)
        assert outcome.ending == ("finished" if max_runs is None else "max_runs")
        assert len(set(executor.trained)) == len(executor.trained)
        outcomes.append(decided(outcome))
    assert all(one == outcomes[0] for one in outcomes)


def test_trials_begun_ahead_fill_the_slots_and_are_counted(recipe, tmp_path):
    alone = recipe.model_copy(update={"arms": {"one": {"train.beta1": 0.9}}})
    plain = MadeUpTraining(tmp_path / "plain", num_slots=1)
    run_search(alone, tmp_path / "plain", executor=plain)
    executor = MadeUpTraining(tmp_path / "ws", num_slots=4)
    outcome = run_search(alone, tmp_path / "ws", executor=executor)
    (arm,) = outcome.to_json()["arms"]
    assert executor.most_at_once == 4
    let_go = len(executor.trained) - arm["cost"]["num_trials"] - arm["cost"]["num_wasted"]
    assert 0 <= let_go < 4  # trained, and no longer scored when the last certificate stood
    assert len(plain.trained) == arm["cost"]["num_trials"]
    assert all(trial["round"] is None and "test_loss" not in trial for trial in arm["wasted"])


@pytest.mark.parametrize("max_runs", [2, 3, 5, 8])
def test_nothing_begins_ahead_beyond_the_budget(recipe, tmp_path, max_runs):
    executor = MadeUpTraining(tmp_path / "ws", num_slots=5)
    outcome = run_search(with_search(recipe, max_runs=max_runs), tmp_path / "ws", executor=executor)
    (*arms,) = outcome.to_json()["arms"]
    asked = sum(arm["cost"]["num_trials"] for arm in arms)
    wasted = sum(arm["cost"]["num_wasted"] for arm in arms)
    assert asked == max_runs
    assert wasted < max_runs
    assert len(executor.trained) == asked + wasted


def test_hours_end_a_search_in_good_order_and_it_goes_on(recipe, tmp_path):
    root = tmp_path / "ws"
    executor = MadeUpTraining(root, seconds=0.02)
    stopped = run_search(recipe, root, max_hours=0.3 / 3600, executor=executor)
    assert stopped.ending == "max_hours"
    assert executor.running == [] and executor.calls == ["close"], "running trials end, nothing is stopped"
    assert 0 < len(executor.trained) < 20
    assert stopped.seconds < 10
    again = MadeUpTraining(root)
    finished = run_search(recipe, root, executor=again)
    assert finished.ending == "finished"
    assert not set(again.trained) & set(executor.trained)
    fresh = run_search(recipe, tmp_path / "fresh", executor=MadeUpTraining(tmp_path / "fresh"))
    assert decided(finished) == decided(fresh)


def test_a_search_that_is_late_takes_in_what_is_there(recipe, tmp_path):
    root = tmp_path / "ws"
    finished = run_search(recipe, root, executor=MadeUpTraining(root))
    again = run_search(recipe, root, max_hours=1e-9, executor=MadeUpTraining(root))
    assert again.ending == "finished"
    assert decided(again) == decided(finished)


def test_the_use_of_the_slots_is_measured(recipe, tmp_path):
    root = tmp_path / "ws"
    outcome = run_search(recipe, root, executor=MadeUpTraining(root, seconds=0.01))
    use = outcome.to_json()["utilisation"]
    assert use["num_slots"] == 2
    assert 0.5 < use["busy_fraction"] <= 1.0
    assert 0.0 < use["cpu_fraction"] <= 0.5  # one step at a time ends here: half of the time is waiting
    assert 0.0 <= use["wasted_fraction"] < 0.3


def test_the_file_shows_what_runs_and_the_status_reads_it(recipe, tmp_path, monkeypatch):
    monkeypatch.setattr("megadocs.pipeline.tune.standing._WRITE_SECONDS", 0.0)
    monkeypatch.setattr("megadocs.pipeline.tune.standing._WATCH_SECONDS", 0.0)
    root, seen = tmp_path / "ws", []

    class Watcher:
        def step(self, state):
            pass

        def search(self, outcome):
            on_disk = read_status(root).search
            if outcome.running and on_disk is not None and on_disk["running"]:
                seen.append((on_disk, list(search_lines(on_disk))))

    run_search(recipe, root, executor=MadeUpTraining(root), watcher=Watcher())
    on_disk, lines = seen[len(seen) // 2]
    assert on_disk["is_alive"] and on_disk["ending"] == "unfinished"
    assert len(on_disk["running"]) <= 2
    assert set(on_disk["running"][0]) == {
        *("arm", "setting", "seed", "is_ahead", "phase", "step", "num_steps", "loss", "seconds_left")
    }
    assert lines[0].startswith("search made_up: running")
    assert any(line.startswith("  running: ") for line in lines)
    after = read_status(root).search
    assert (after["ending"], after["is_alive"], after["running"]) == ("finished", False, [])
    assert (root / "searches" / "made_up.json").read_bytes() == (root / "search.json").read_bytes()


def test_plain_lines_say_each_result_once(recipe, tmp_path, capsys):
    root = tmp_path / "ws"
    outcome = run_search(recipe, root, executor=MadeUpTraining(root), watcher=PlainDisplay())
    lines = capsys.readouterr().err.splitlines()
    results = [line for line in lines if ", seed " in line]
    assert len(results) == sum(len(arm.results) for arm in outcome.arms) == len(set(results))
    run_search(recipe, root, executor=MadeUpTraining(root), watcher=PlainDisplay())
    again = capsys.readouterr().err
    assert "runs were there already" in again and ", seed " not in again


def test_the_live_table_shows_arm_setting_step_loss_and_time_left(recipe, tmp_path):
    console = Console(record=True, width=160, file=io.StringIO(), force_terminal=True)
    root, frames = tmp_path / "ws", []

    class Live:
        def __init__(self):
            self.console = console

        def update(self, renderable):
            frames.append(renderable)

    display = LiveDisplay(Live())
    running = RunningTrial("one", {"train.weight_decay": 0.5}, 0, True, "train", 40, 96, 5.25, 12.0)
    outcome = run_search(recipe, root, executor=MadeUpTraining(root), watcher=display)
    display.search(dataclasses.replace(outcome, running=(running,)))
    console.print(frames[-1])
    text = console.export_text()
    for part in ("one", "weight_decay 0.5", "0 ahead", "40/96", "5.250", "12 s", "slots busy"):
        assert part in text
