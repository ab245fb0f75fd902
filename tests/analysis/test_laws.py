"""Power laws of an experiment's own runs."""

from __future__ import annotations

import dataclasses
import math

from megadocs.analysis import RunFacts
from megadocs.analysis.laws import law_efficiency, law_rows, law_series


def runs() -> tuple[dict, dict]:
    losses, facts = {}, {}
    for multiple in (1, 2, 4, 8):
        for seed in range(3):
            arm = f"real_{multiple}x"
            facts[arm, seed] = RunFacts(arm, seed, multiple, 1000 * multiple)
            losses[arm, seed] = 2 + 3 * multiple**-0.3 + 0.002 * (seed - 1)
    for generations in (2, 4, 8):
        arm = f"g{generations}"
        settings = {"ordering": "stitched", "num_generations": generations}
        facts[arm, 0] = RunFacts(arm, 0, 1, 1000, synthetic_tokens=9, settings=settings)
        losses[arm, 0] = 4 + generations**-1.0
    return losses, facts


CURVE = ["real_1x", "real_2x", "real_4x", "real_8x"]


def test_series_are_found_from_facts() -> None:
    losses, facts = runs()
    series = {(item.name, item.x_name): item for item in law_series(losses, facts, CURVE, {})}
    assert set(series) == {("real documents only", "real_tokens"), ("stitched", "num_generations")}
    rows = {row["name"]: row for row in law_rows(list(series.values()), 0.95)}
    assert abs(rows["real documents only"]["law"].exponent - 0.3) < 0.02
    assert rows["real documents only"]["is_asymptote_identified"]
    assert "no interval" in rows["stitched"]["reason"]


def test_nan_runs_are_left_out_and_few_sizes_are_explained() -> None:
    losses, facts = runs()
    losses = {run: math.nan if run[0] in ("g8", "real_8x") else loss for run, loss in losses.items()}
    rows = {row["name"]: row for row in law_rows(law_series(losses, facts, CURVE, {}), 0.95)}
    assert rows["stitched"]["law"] is None
    assert "three different sizes" in rows["stitched"]["reason"]
    assert rows["real documents only"]["num_runs"] == 9


def test_rising_losses_have_no_law() -> None:
    losses, facts = runs()
    rising = {run: -loss for run, loss in losses.items()}
    assert law_rows(law_series(rising, facts, CURVE, {}), 0.95)[0]["law"] is None


def test_efficiency_by_law_of_an_arm_on_the_law() -> None:
    losses, facts = runs()
    series = law_series(losses, facts, CURVE, {})
    arms = {"simple": [2 + 3 * 2.5**-0.3 + shift for shift in (-0.002, 0.0, 0.002)]}
    (row,) = law_efficiency(series, 1000.0, arms, 0.95)
    assert row["arm"] == "simple"
    assert abs(row["estimate"] - 2.5) < 0.05
    assert row["interval"][0] < 2.5 < row["interval"][1]
    assert law_efficiency(series, 999.0, arms, 0.95) == []
    assert dataclasses.is_dataclass(series[0])


def test_of_arms_with_one_size_the_best_on_validation_stands() -> None:
    losses, facts = runs()
    facts["the_ablation", 0] = dataclasses.replace(facts["g4", 0], arm="the_ablation")
    losses["the_ablation", 0] = 9.0
    validation = {"the_ablation": 4.0, "g4": 4.2, "g2": 4.4, "g8": 4.1}
    chosen = {item.name: item.losses for item in law_series(losses, facts, CURVE, validation)}["stitched"]
    assert 9.0 in chosen
    assert len(chosen) == 3


def test_a_law_over_parameters_and_none_that_mixes_sizes() -> None:
    losses, facts = runs()
    for number, size in enumerate((100, 200, 400, 800)):
        for family, arm in ((None, f"real_{size}"), ("stitched", f"g8_{size}")):
            settings = {"ordering": family, "num_generations": 8} if family else {}
            tokens = 9 if family else 0
            facts[arm, 0] = RunFacts(arm, 0, 1, 1000, tokens, settings=settings, num_parameters=size)
            losses[arm, 0] = 1.0 + 5.0 * size**-0.5 - 0.01 * number * bool(family)
    base = facts["real_100", 0]
    facts = {
        key: dataclasses.replace(run, num_parameters=100) if run.num_parameters is None else run
        for key, run in facts.items()
    }
    found = law_series(losses, facts, CURVE, {"g8": 0.0}, base.arm)
    series = {(item.name, item.x_name): item for item in found}
    assert series["stitched", "num_generations"].x == (2.0, 4.0, 8.0)  # none of a larger student
    law = law_rows([series["stitched, G = 8", "num_parameters"]], 0.95)[0]
    assert series["stitched, G = 8", "num_parameters"].x == (100.0, 200.0, 400.0, 800.0)
    assert law["law"] is not None
    assert ("real documents only", "num_parameters") in series
    without = law_series(losses, facts, CURVE, {}, "real_1x")
    assert {item.x_name for item in without} == {"real_tokens", "num_generations", "num_parameters"}
