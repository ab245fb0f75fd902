"""The estimated length of a run, and batches that its text does not fill: found by the plan, before text is written."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import pytest

from megadocs.errors import RecipeError
from megadocs.pipeline.price.plan import build_plan
from megadocs.pipeline.price.run_length import Part, estimated_steps, refuse_large_batch, run_parts
from megadocs.recipe import load_recipe

REAL, SYNTHETIC = "real", "synthetic"


def parts_of(tmp_path: Path, *overrides: str) -> list[Part]:
    path = tmp_path / "recipe.yaml"
    path.write_text(
        "name: x\ncorpus: {source: a}\ntrain: {context_length: 100, real_epochs: 3}\narms: {real_only: {}}\n"
    )
    return run_parts(load_recipe(path, list(overrides)), real_tokens=1_250, synthetic_tokens=4_990)


def test_a_mixture_has_a_part_of_each_text_and_the_real_one_sets_the_length(tmp_path: Path) -> None:
    assert parts_of(tmp_path, "mixture.synthetic_fraction=0") == [Part(REAL, Fraction(1), 3.0, 12)]
    mixed = ("stream.ordering=simple", "mixture.synthetic_fraction=0.75")
    quarter, rest = Fraction(1, 4), Fraction(3, 4)
    assert parts_of(tmp_path, *mixed) == [Part(REAL, quarter, 3.0, 12), Part(SYNTHETIC, rest, 1.0, 49)]
    assert parts_of(tmp_path, *mixed, "mixture.max_windows={real: 7}")[0].num_windows == 7
    alone = ("stream.ordering=simple", "mixture.separate_real_stream=false", "train.synthetic_epochs=2.5")
    assert parts_of(tmp_path, *alone) == [Part(SYNTHETIC, Fraction(1), 2.5, 49)]


@pytest.mark.parametrize(("windows", "steps"), [(8, 6), (7, 5), (1, 1), (0, 0)])
def test_steps_are_rounded_down_but_a_run_that_may_have_one_has_it(windows: int, steps: int) -> None:
    assert estimated_steps([Part(REAL, Fraction(1, 2), 1.5, windows)], 4) == steps


def test_a_run_of_less_than_half_a_step_has_none() -> None:
    assert estimated_steps([Part(REAL, Fraction(1), 1.0, 2)], 4) == 1
    assert estimated_steps([Part(REAL, Fraction(1), 0.99, 2)], 4) == 0


@pytest.mark.parametrize("name", [REAL, SYNTHETIC])
def test_a_batch_of_twice_the_windows_may_fit_and_of_more_does_not(name: str) -> None:
    fine, short = Part(REAL, Fraction(1, 2), 9.0, 100), Part(name, Fraction(1, 2), 1.0, 4)
    refuse_large_batch("arm", [fine, short], 16)
    with pytest.raises(RecipeError) as caught:
        refuse_large_batch("arm", [fine, short], 18)
    assert caught.value.what == f"a batch of 18 takes 9 windows of {name} text, which has about 4"
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
    assert build_plan(load_recipe(path), tmp_path / "workspace").lines
    with pytest.raises(RecipeError, match="a batch of 128 takes 128 windows of real text, which has about"):
        build_plan(load_recipe(path, ["train.batch_size=128"]), tmp_path / "workspace")
