"""`plan --probe`: what is measured, kept, and used; another machine or another shape measures again."""

import dataclasses
import json

import pytest

from megadocs.pipeline.plan import build_plan
from megadocs.pipeline.probe import PROBE_FILE, Probe, ShapeRates, load_probe, run_probe, shape_key
from megadocs.recipe import build_arms, load_recipe

RATES = ShapeRates(start_seconds=3.0, run_seconds=0.5, step_seconds=0.1, score_seconds_per_token=1e-4)


@pytest.fixture
def recipe(toy_recipe):
    return load_recipe(toy_recipe)


def write_probe(root, recipe, **changes):
    """A made-up measurement of this machine."""
    from megadocs.pipeline import probe as module

    (arm, *_) = build_arms(recipe)
    found = Probe(module._machine(2), {shape_key(arm.recipe): RATES}, 4.0, 100.0, 2.0, {"rephrase": 30.0})
    root.mkdir(exist_ok=True)
    (root / PROBE_FILE).write_text(json.dumps(dataclasses.asdict(dataclasses.replace(found, **changes))))


def test_a_plan_uses_what_was_measured(recipe, tmp_path):
    root = tmp_path / "ws"
    write_probe(root, recipe)
    plan = build_plan(recipe, root, 2)
    train = next(line for line in plan.lines if line.kind == "train")
    assert train.seconds == pytest.approx(0.5 + 0.3 + train.num_steps * 0.1)
    rephrase = next(line for line in plan.lines if line.kind == "generate" and "rephrase" in line.name)
    assert rephrase.num_tokens == rephrase.num_requests * 30
    assert rephrase.seconds == pytest.approx(2.0 + rephrase.num_tokens / 100)
    assert plan.rates == "probe"
    trains = [line for line in plan.lines if line.kind == "train"]
    assert plan.seconds > sum(line.seconds for line in trains) / 2


def test_another_machine_or_slot_count_measures_again(recipe, tmp_path):
    root = tmp_path / "ws"
    write_probe(root, recipe)
    assert load_probe(root, 2) is not None
    assert load_probe(root, 1) is None
    write_probe(root, recipe, machine={"processor": "another"})
    assert load_probe(root, 2) is None
    assert build_plan(recipe, root, 2).rates == "default"


def test_a_shape_is_what_speed_depends_on(recipe):
    key = shape_key(recipe)
    assert shape_key(recipe.model_copy(update={"train": recipe.train.model_copy(update={"learning_rate": 0.5})})) == key
    assert shape_key(recipe.model_copy(update={"train": recipe.train.model_copy(update={"batch_size": 8})})) != key


@pytest.mark.slow
def test_a_probe_measures_and_leaves_nothing_else_behind(recipe, tmp_path, monkeypatch):
    for name in ("_TRAIN_SECONDS", "_SCORE_SECONDS", "_GENERATE_SECONDS"):
        monkeypatch.setattr(f"megadocs.pipeline.probe.{name}", 0.5)
    root = tmp_path / "ws"
    probe = run_probe(recipe, root, 2)
    assert [path.name for path in root.iterdir()] == [PROBE_FILE]
    assert load_probe(root, 2) == probe
    (rates,) = probe.shapes.values()
    assert all(value > 0 for value in dataclasses.asdict(rates).values())
    assert probe.new_tokens_per_second > 0
    assert 1 < probe.characters_per_token < 8
