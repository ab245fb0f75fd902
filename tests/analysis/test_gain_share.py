"""The share of a gain that a control has, too: its interval against a scan of every share, and where it has none."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from megadocs.analysis.document_noise import DocumentNoise
from megadocs.analysis.gain_share import GainShare, gain_share
from megadocs.analysis.paired import PairedLosses
from megadocs.analysis.seed_noise import seed_noise

LOSSES = {"real_only": 5.0, "simple": 4.6, "shuffled_words": 4.75}
DEGREES = 6.5


def table_of(*, scatter: float = 0.01, documents: float = 0.02, seeds: int = 3, pool: bool = True, **losses: float):  # type: ignore[no-untyped-def]
    rng = np.random.default_rng(5)
    arms = LOSSES | losses
    runs = tuple((arm, seed) for arm in arms for seed in range(seeds))
    values = np.array([arms[arm] for arm, _ in runs]) + rng.normal(0, scatter, len(runs))
    deviations = rng.normal(0, documents / 3, (9, len(arms))).repeat(seeds, axis=1)  # an arm's runs have one taste
    noise = DocumentNoise(deviations, DEGREES, 9, "documents", 9)
    return PairedLosses(runs, values, noise, seed_noise(runs, values, dict.fromkeys(arms, ""), pool=pool))


def share_of(table: PairedLosses, confidence: float = 0.95, arm: str = "simple") -> GainShare | None:
    return gain_share(table, arm, "shuffled_words", "real_only", confidence)


@pytest.mark.parametrize("pool", [True, False])
@pytest.mark.parametrize("confidence", [0.8, 0.95])
@pytest.mark.parametrize("control", [4.75, 4.5, 5.1])
def test_the_interval_holds_the_shares_that_are_not_told_from_the_truth(
    pool: bool, confidence: float, control: float
) -> None:
    """Of every share on a fine grid: is (1 - r) b + r a - c within its half-width, written out here?"""
    table = table_of(pool=pool, shuffled_words=control)
    mean = {arm: table.losses[list(table.arm_runs(arm).values())].mean() for arm in LOSSES}
    own = {arm: np.var(table.losses[list(table.arm_runs(arm).values())], ddof=1) for arm in LOSSES}
    by_arm = {
        arm: table.documents.deviations[:, rows[0]] for arm in LOSSES if (rows := list(table.arm_runs(arm).values()))
    }
    pooled = table.seeds.pooled
    at_documents = stats.t.ppf((1 + confidence) / 2, DEGREES)
    inside = []
    for share in np.arange(-2.0, 3.0, 0.0005):
        weight = {"real_only": 1 - share, "simple": share, "shuffled_words": -1.0}
        square = at_documents**2 * np.square(sum(weight[arm] * by_arm[arm] for arm in LOSSES)).sum()
        if pool:
            variance = sum(weight[arm] ** 2 for arm in LOSSES) * pooled.variance / 3
            square += stats.t.ppf((1 + confidence) / 2, pooled.degrees) ** 2 * variance
        else:
            terms = sum(weight[arm] ** 2 * own[arm] / 3 for arm in LOSSES)
            square += stats.t.ppf((1 + confidence) / 2, 2) ** 2 * terms
        if abs(sum(weight[arm] * mean[arm] for arm in LOSSES)) <= math.sqrt(square):
            inside.append(share)
    found = share_of(table, confidence)
    assert found is not None and found.interval == pytest.approx((min(inside), max(inside)), abs=0.001)
    assert found.interval[0] < found.value < found.interval[1]
    assert found.value == pytest.approx(
        (mean["real_only"] - mean["shuffled_words"]) / (mean["real_only"] - mean["simple"])
    )


def test_an_interval_is_wider_with_fewer_seeds_and_noisier_documents() -> None:
    def width(**options: float) -> float:
        found = share_of(table_of(**options))  # type: ignore[arg-type]
        assert found is not None and found.interval is not None
        return found.interval[1] - found.interval[0]

    assert width() < width(documents=0.06) and width(seeds=6) < width(seeds=2)


@pytest.mark.parametrize("simple", [4.96, 4.98])
def test_a_gain_that_is_not_told_from_nothing_has_a_share_without_an_interval(simple: float) -> None:
    found = share_of(table_of(documents=0.1, simple=simple))
    assert found is not None and found.value > 0 and found.interval is None


def test_noise_that_is_not_measured_leaves_the_interval_out() -> None:
    one_seed = share_of(table_of(seeds=1, scatter=0.0))
    assert one_seed is not None and one_seed.interval is None
    table = table_of()
    nothing = DocumentNoise(np.zeros((1, len(table.runs))), 0.0, 1, "documents", 1)
    found = share_of(PairedLosses(table.runs, table.losses, nothing, table.seeds))
    assert found is not None and found.interval is None
    assert share_of(table, arm="real_only") is None  # it gains nothing over itself
    assert gain_share(table, "simple", None, "real_only", 0.95) is None
