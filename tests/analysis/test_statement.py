"""The answer in words where runs are broken, missing or very many: nothing is claimed that was not measured."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import pytest

from megadocs.analysis import analyze_experiment
from megadocs.recipe import AnalysisConfig

from .fixtures_experiment import QUICKSTART_ARMS, Experiment, make_experiment

CONFIG = AnalysisConfig(num_bootstrap=100)


def analyze(experiment: Experiment) -> dict[str, Any]:
    return analyze_experiment(experiment.scores, experiment.runs, CONFIG, expected=experiment.expected)


def with_loss(factor: float, *broken: tuple[str, int]) -> Experiment:
    made = make_experiment()
    scores = [
        dataclasses.replace(t, sum_nll=t.sum_nll * factor)
        if (t.arm, t.seed) in broken and (t.set_name, t.mode) == ("test", "windowed")
        else t
        for t in made.scores
    ]
    return Experiment(scores, made.runs, made.expected)


@pytest.mark.parametrize("factor", [math.nan, math.inf])
def test_a_broken_run_is_named_and_left_out_of_the_claims(factor: float) -> None:
    results = analyze(with_loss(factor, ("stitched", 1)))
    assert results["warnings"] == [
        "Losses that are not numbers: stitched seed 1 (test/windowed). They are shown, not averaged away, and "
        "nothing is compared with their arms."
    ]
    assert "stitched" not in results["answer"][0]
    assert not any("not separated" in sentence and "stitched" in sentence for sentence in results["answer"])


def test_a_broken_baseline_leaves_nothing_to_compare() -> None:
    results = analyze(with_loss(math.nan, ("real_only", 0)))
    assert results["answer"][0].startswith(
        "The loss of the baseline real_only is not a number, so what the synthetic text was worth is not known"
    )
    assert results["sets"][0]["no_data_efficiency"] == "the loss of real_only, on that curve, is not a number"


def test_a_missing_baseline_is_not_a_missing_synthetic_arm() -> None:
    made = make_experiment()
    part = Experiment(
        [t for t in made.scores if t.arm != "real_only"], [r for r in made.runs if r.arm != "real_only"], made.expected
    )
    assert analyze(part)["answer"][0].startswith("The baseline real_only has no finished run, so what")


def test_a_run_that_was_scored_on_other_sets_only_is_missing() -> None:
    made = make_experiment()
    gone = [
        t
        for t in made.scores
        if (t.arm, t.seed, t.set_name) != ("simple", 0, "test") or t.mode != "windowed"
    ]  # fmt: skip
    results = analyze(Experiment(gone, made.runs, made.expected))
    assert results["missing"] == [{"arm": "simple", "seed": 0, "reason": "test/windowed: not scored"}]


def test_of_very_many_arms_the_answer_names_some() -> None:
    real = {name: arm for name, arm in QUICKSTART_ARMS.items() if name.startswith("real")}
    many = {f"arm_{k:03d}": (5.2 + 0.02 * k, 1, 31_000 + 2_000 * k, 8.0 + k) for k in range(50)}
    answer = analyze(make_experiment({**real, **many}, num_documents=40, sets=("test",)))["answer"]
    assert max(map(len, answer)) < 1200
    (others,) = [sentence for sentence in answer if sentence.startswith("The others: ")]
    assert " more arms down to " in others
    (cost,) = [sentence for sentence in answer if sentence.startswith("Trained on more tokens")]
    assert " more arms (up to " in cost
    assert "picked on these same documents" in " ".join(answer)
