"""The estimated length of a run, and batches that its text does not fill: found by the plan, before text is written."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import pytest

from megadocs.errors import RecipeError
from megadocs.pipeline.price.plan import build_plan
from megadocs.pipeline.price.run_length import Clock, clock_of, estimated_steps, refuse_large_batch
from megadocs.recipe import load_recipe

RECIPE = "name: x\ncorpus: {source: a}\ntrain: {context_length: 100, real_epochs: 3}\narms: {real_only: {}}\n"


@pytest.mark.parametrize(
    ("overrides", "clock"),
    [
        (["mixture.synthetic_fraction=0"], Clock(Fraction(1), 3.0, 12)),
        (["mixture.synthetic_fraction=0.75"], Clock(Fraction(1, 4), 3.0, 12)),
        (["mixture.synthetic_fraction=0.75", "mixture.max_windows={real: 7}"], Clock(Fraction(1, 4), 3.0, 7)),
        (["mixture.synthetic_fraction=0.75", "mixture.max_windows={real: 0}"], Clock(Fraction(1, 4), 3.0, 12)),
        (["mixture.separate_real_stream=false", "train.synthetic_epochs=2.5"], Clock(Fraction(1), 2.5, 49)),
    ],
)
def test_the_real_text_sets_the_length_where_it_has_a_stream(
    tmp_path: Path, overrides: list[str], clock: Clock
) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text(RECIPE)
    recipe = load_recipe(path, ["stream.ordering=simple", *overrides])
    assert clock_of(recipe, real_tokens=1_250, synthetic_tokens=4_990) == clock


@pytest.mark.parametrize(("windows", "steps"), [(8, 6), (7, 5), (1, 1), (0, 0)])
def test_steps_are_rounded_down_but_a_run_that_may_have_one_has_it(windows: int, steps: int) -> None:
    assert estimated_steps(Clock(Fraction(1, 2), 1.5, windows), 4) == steps


def test_a_run_of_less_than_half_a_step_has_none() -> None:
    assert estimated_steps(Clock(Fraction(1), 1.0, 2), 4) == 1
    assert estimated_steps(Clock(Fraction(1), 0.99, 2), 4) == 0


def test_a_batch_may_take_as_many_windows_as_there_are() -> None:
    clock = Clock(Fraction(1, 2), 9.0, 8)
    for batch_size in (16, 17):  # 8.5 windows are 8 in the first block
        refuse_large_batch("arm", clock, batch_size)
    with pytest.raises(RecipeError) as caught:
        refuse_large_batch("arm", clock, 18)
    assert caught.value.what == "a batch of 18 takes 9 windows of real text, which has 8"
    assert caught.value.where == "arms.arm: train.batch_size"
    assert "lower the batch" in caught.value.remedy


def test_the_plan_refuses_such_a_batch(tmp_path: Path) -> None:
    (tmp_path / "texts").mkdir()
    for number in range(20):
        (tmp_path / "texts" / f"{number}.txt").write_text(f"Document {number} says a little. " * 30)
    path = tmp_path / "recipe.yaml"
    path.write_text(
        f"name: x\ncorpus: {{source: {tmp_path}/texts, split: {{train: 10, validation: 5, test: 5}}}}\n"
        "model: {preset: tiny}\ntokenizer: {kind: train, vocab_size: 300}\n"
        "train: {context_length: 256, batch_size: 4, real_epochs: 400}\n"
        "arms: {real_only: {}}\n"
    )
    windows = next(line for line in build_plan(load_recipe(path), tmp_path / "workspace").lines if line.kind == "train")
    assert windows.num_steps is not None
    num_windows = windows.num_steps * 4 // 400
    assert build_plan(load_recipe(path, [f"train.batch_size={num_windows}"]), tmp_path / "workspace").lines
    told = f"a batch of {num_windows + 1} takes {num_windows + 1} windows of real text, which has {num_windows}"
    with pytest.raises(RecipeError, match=told):
        build_plan(load_recipe(path, [f"train.batch_size={num_windows + 1}"]), tmp_path / "workspace")
