"""Intervals of multipliers: as wide as their confidence says, and wider for an arm that was chosen among several."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from megadocs.analysis.document_noise import DocumentNoise
from megadocs.analysis.paired import PairedLosses
from megadocs.analysis.seed_noise import seed_noise
from megadocs.analysis.worth import worth_rows
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
