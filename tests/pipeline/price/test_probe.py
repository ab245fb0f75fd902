"""`plan --probe`: what is measured, kept, and used; another machine or another shape measures again."""

import dataclasses
import json

import pytest

from megadocs.pipeline.price.corpus_sizes import measure_corpus
from megadocs.pipeline.price.plan import build_plan
from megadocs.pipeline.price.probe import run_probe
from megadocs.pipeline.price.probe_generation import probe_tasks
from megadocs.pipeline.price.rates import (
    PROBE_FILE,
    Probe,
    ShapeRates,
    StageTimes,
    TaskRates,
    load_probe,
    reading_speed,
    shape_key,
    this_machine,
)
from megadocs.pipeline.price.wall_time import WorkerTimes
from megadocs.recipe import build_arms, load_recipe
from megadocs.store.artifact import Workspace

RATES = ShapeRates(run_seconds=0.5, step_seconds=0.1, score_seconds=0.25, score_seconds_per_token=1e-4)
STAGES = StageTimes(
    WorkerTimes(1.0, 3.0), command_seconds=0.8, publish_seconds=0.1, corpus_seconds=2.0, tokenizer_seconds=0.4
)


@pytest.fixture
def recipe(toy_recipe):
    return load_recipe(toy_recipe)


def write_probe(root, recipe, **changes):
    """A made-up measurement of this machine."""
    (arm, *_) = build_arms(recipe)
    found = Probe(
        this_machine(2), {shape_key(arm.recipe): RATES}, STAGES, {"rephrase": TaskRates(100, 2, 30)}, (4.0, 3.5)
    )
    root.mkdir(exist_ok=True)
    (root / PROBE_FILE).write_text(json.dumps(dataclasses.asdict(dataclasses.replace(found, **changes))))


def test_a_plan_uses_what_was_measured(recipe, tmp_path):
    root = tmp_path / "ws"
    write_probe(root, recipe)
    plan = build_plan(recipe, root, 2)
    train = next(line for line in plan.lines if line.kind == "train")
    assert train.seconds == pytest.approx(0.1 + 0.5 + train.num_steps * 0.1)
    rephrase = next(line for line in plan.lines if line.kind == "generate" and "rephrase" in line.name)
    assert rephrase.num_tokens == rephrase.num_requests * 30
    num_read = (rephrase.num_prompt_tokens - rephrase.num_cached_tokens) / reading_speed(recipe.generate.engine)
    assert rephrase.seconds == pytest.approx(2.0 + (rephrase.num_tokens + num_read) / 100)
    assert plan.rates == "probe"
    trains = [line for line in plan.lines if line.kind == "train"]
    assert plan.seconds > sum(line.seconds for line in trains) / 2
    corpus, report = plan.lines[0], plan.lines[-1]
    assert (corpus.seconds, report.kind) == (pytest.approx(0.1 + 2.0), "report")
    # One run, step after step: the command and one worker start, torch is imported once.
    alone = build_plan(recipe.model_copy(update={"seeds": [0], "arms": {"real_only": {}}}), root, 2)
    assert alone.seconds == pytest.approx(0.8 + 1.0 + 3.0 + sum(line.seconds for line in alone.lines))


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
    for name in ("probe._TRAIN_SECONDS", "probe._SCORE_SECONDS", "probe_generation._SECONDS"):
        monkeypatch.setattr(f"megadocs.pipeline.{name}", 0.5)
    root = tmp_path / "ws"
    probe = run_probe(recipe, root, 2)
    assert [path.name for path in root.iterdir()] == [PROBE_FILE]
    assert load_probe(root, 2) == probe
    (rates,) = probe.shapes.values()
    stages = dataclasses.asdict(probe.stages)
    assert all(value > 0 for value in (*dataclasses.asdict(rates).values(), *stages.pop("workers").values()))
    assert all(value > 0 for value in stages.values())
    assert probe.generation["rephrase"].tokens_per_second > 0
    assert all(1 < per_token < 8 for per_token in probe.characters_per_token)


@pytest.mark.parametrize("num_slots", [1, 2])
def test_requests_that_end_after_the_probe_do_not_make_the_engine_slow(recipe, tmp_path, monkeypatch, num_slots):
    monkeypatch.setattr("megadocs.pipeline.price.probe_generation._SECONDS", 0.25)
    engine = recipe.generate.engine
    slow = engine.model_copy(update={"concurrency": 4, "options": {"latency_seconds": 0.2, "transport": "memory"}})
    generate = recipe.generate.model_copy(update={"engine": slow})
    documents = measure_corpus(recipe, Workspace(tmp_path / "ws")).documents
    tasks = {"rephrase": 1, "thought": 1}
    found = probe_tasks(recipe.model_copy(update={"generate": generate}), tasks, documents, tmp_path, num_slots)
    for rates in found.values():  # four replies of 66 tokens every 0.2 s
        assert rates.tokens_per_second == pytest.approx(4 * 66 / 0.2, rel=0.3)
    assert set(found) == set(tasks)
