"""Intervals of multipliers: as wide as their confidence says, and wider for an arm that was chosen among several."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from megadocs.analysis.document_noise import DocumentNoise
from megadocs.analysis.efficiency import Multiple
from megadocs.analysis.paired import PairedLosses
from megadocs.analysis.seed_noise import seed_noise
from megadocs.analysis.worth import CURVE_SLACK, draws_taken, worth_rows
from megadocs.recipe import AnalysisConfig

CURVE = {"real_only": (1000.0, 6.0), "real_2x": (2000.0, 5.0), "real_4x": (4000.0, 4.0)}
SE, DEGREES = 0.05, 7


def worth(confidence: float, *others: str) -> dict:
    """Curve without noise; arms at 1.5 in log2 multiples, each with a standard error of its own over documents."""
    arms = [*CURVE, *others]
    losses = np.array([*(loss for _, loss in CURVE.values()), *[4.5] * len(others)])
    deviations = np.zeros((8, len(arms)))
    for place in range(len(others)):
        deviations[place, len(CURVE) + place] = SE
    runs = tuple((arm, 0) for arm in arms)
    table = PairedLosses(
        runs, losses, DocumentNoise(deviations, DEGREES, 8, "sources", 8), seed_noise(runs, losses, {})
    )
    return worth_rows(
        table, {arm: tokens for arm, (tokens, _) in CURVE.items()}, "test", AnalysisConfig(confidence=confidence)
    )


def reach(row: dict) -> float:
    """Half the interval in nats: one nat is a factor of two on this curve."""
    return float(np.log2(row["upper"].value / row["lower"].value)) / 2


@pytest.mark.parametrize("confidence", [0.9, 0.95, 0.99])
def test_the_interval_is_at_the_confidence(confidence: float) -> None:
    (row,) = worth(confidence, "simple")["data_efficiency"]
    assert row["estimate"].value == pytest.approx(2**1.5)
    assert reach(row) == pytest.approx(stats.t.ppf(0.5 + confidence / 2, DEGREES) * SE, rel=0.06)


def test_the_best_of_several_allows_for_the_choice() -> None:
    found = worth(0.95, "simple", "stitched", "latent_thoughts")
    best = found["best"]
    assert best["num_arms"] == 3
    level = 1 - 0.05 / 3
    half = float(np.log2(best["upper"].value / best["lower"].value)) / 2
    assert half == pytest.approx(stats.t.ppf(0.5 + level / 2, DEGREES) * SE, rel=0.08)
    assert all(reach(row) < half for row in found["data_efficiency"])


def table_of(losses: dict[tuple[str, int], float], degrees: float = 7.0, *, pool: bool = True) -> PairedLosses:
    """Runs of these losses without noise over documents; `degrees` 0: one source."""
    runs, values = tuple(losses), np.array(list(losses.values()))
    documents = DocumentNoise(np.zeros((8, len(runs))), degrees, 8, "sources", 8)
    return PairedLosses(runs, values, documents, seed_noise(runs, values, {}, pool=pool))


TOKENS = {arm: tokens for arm, (tokens, _) in CURVE.items()}
POINTS = {(arm, 0): loss for arm, (_, loss) in CURVE.items()}


def test_the_curve_is_shown_and_arms_of_another_student_have_no_multiplier() -> None:
    table = table_of({**POINTS, ("simple", 0): 4.5, ("large", 0): 4.2})
    found = worth_rows(table, {**TOKENS, "real_8x": 8000.0}, "test", AnalysisConfig(), ["large"])
    assert found["curve"] == [
        {"arm": "real_only", "real_tokens": 1000.0, "loss": 6.0},
        {"arm": "real_2x", "real_tokens": 2000.0, "loss": 5.0},
        {"arm": "real_4x", "real_tokens": 4000.0, "loss": 4.0},
    ]
    assert found["no_data_efficiency"] is None
    (row,) = found["data_efficiency"]
    assert (row["arm"], row["lower"].value, row["upper"].value) == ("simple", *[pytest.approx(2**1.5)] * 2)
    # the curve's two further points .02 nats lower, the baseline as it is: between 4.98 and 3.98
    assert CURVE_SLACK == 0.02
    assert row["if_curve_lower"].value == pytest.approx(2 ** (1 + 0.48))
    assert found["best"] == {"arm": "simple", "lower": row["lower"], "upper": row["upper"], "num_arms": 1}


def test_slack_is_for_points_past_the_baseline_alone() -> None:
    table = table_of({("half", 0): 7.0, **POINTS, ("simple", 0): 6.5})
    found = worth_rows(table, {"half": 500.0, **TOKENS}, "test", AnalysisConfig())
    assert found["data_efficiency"][0]["if_curve_lower"].value == pytest.approx(2**-0.5)


@pytest.mark.parametrize(
    ("losses", "reason"),
    [
        ({("real_only", 0): 6.0}, "needs the baseline and at least one real-only arm with more documents"),
        (
            {("real_2x", 0): 5.0, ("real_4x", 0): 4.0},
            "needs the baseline and at least one real-only arm with more documents",
        ),
        (
            {("real_only", 0): 5.0, ("real_2x", 0): 5.0},
            "the measured real-only loss does not fall with every increase of real documents",
        ),
        (
            {("real_only", 0): 6.0, ("real_2x", 0): np.nan, ("real_4x", 0): 4.0},
            "the loss of real_2x, on that curve, is not a number",
        ),
    ],
)
def test_without_a_falling_curve_there_is_a_reason_and_no_multiplier(losses: dict, reason: str) -> None:
    found = worth_rows(table_of({**losses, ("simple", 0): 4.5}), TOKENS, "test", AnalysisConfig())
    assert (found["no_data_efficiency"], found["data_efficiency"], found["best"]) == (reason, [], None)
    assert len(found["curve"]) == len(losses)


def test_one_source_gives_an_estimate_and_no_interval() -> None:
    found = worth_rows(table_of({**POINTS, ("simple", 0): 4.5}, degrees=0), TOKENS, "test", AnalysisConfig())
    (row,) = found["data_efficiency"]
    assert (row["estimate"], row["lower"], row["upper"]) == (Multiple(pytest.approx(2**1.5)), None, None)
    assert found["best"] is None


def test_an_arm_whose_seed_noise_is_not_known_has_no_interval_beside_those_that_have() -> None:
    noisy = {(arm, seed): loss + 0.01 * seed for (arm, _), loss in POINTS.items() for seed in (0, 1)}
    arms = {("simple", 0): 4.5, ("simple", 1): 4.53, ("single", 0): 4.4}
    found = worth_rows(table_of({**noisy, **arms}, pool=False), TOKENS, "test", AnalysisConfig())
    simple, single = found["data_efficiency"]
    assert simple["lower"] is not None
    assert (single["estimate"] is not None, single["lower"], single["upper"]) == (True, None, None)
    assert found["best"] is None  # the best arm is the one without an interval
    pooled = worth_rows(table_of({**noisy, **arms}), TOKENS, "test", AnalysisConfig())
    assert all(row["lower"] is not None for row in pooled["data_efficiency"])
    assert pooled["best"]["arm"] == "single"


def test_seed_noise_of_arm_and_curve_widens_the_interval() -> None:
    rng = np.random.default_rng(4)
    arms = {arm: loss for arm, (_, loss) in CURVE.items()} | {"simple": 4.5}
    losses = {(arm, seed): loss + rng.normal(0, 0.02) for arm, loss in arms.items() for seed in range(5)}
    table = table_of(losses)
    (row,) = worth_rows(table, TOKENS, "test", AnalysisConfig())["data_efficiency"]
    own = table.seeds.pooled
    error = np.sqrt(own.variance / 5 * (1 + 0.5**2 + 0.5**2))  # the arm, and both ends of its piece half each
    assert reach(row) == pytest.approx(stats.t.ppf(0.975, own.degrees) * error, rel=0.08)


def test_ten_thousand_draws_or_more() -> None:
    assert draws_taken(AnalysisConfig(num_bootstrap=1000)) == 10_000
    assert draws_taken(AnalysisConfig(num_bootstrap=20_000)) == 20_000


def test_the_best_is_the_arm_of_the_lowest_loss_that_has_a_multiplier() -> None:
    losses = {**POINTS, ("worse", 0): 5.5, ("better", 0): 4.25, ("nan", 0): np.nan}
    found = worth_rows(table_of(losses), TOKENS, "test", AnalysisConfig())
    assert found["best"]["arm"] == "better"
    assert found["best"]["num_arms"] == 3
    assert [row["estimate"] is None for row in found["data_efficiency"]] == [False, False, True]
    assert found["data_efficiency"][2]["lower"] is None
