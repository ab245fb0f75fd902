"""Holm, pooled seed noise and paired intervals against hand-computed values and against coverage."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from megadocs.analysis.paired import PairedLosses, SeedNoise, holm, paired_difference, pooled_seed_noise


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.5, None, 0.9]) == [1.0, None, 1.0]


def test_pooled_noise_is_the_two_way_residual() -> None:
    losses = np.array([[1.0, 1.2], [2.0, 2.1], [3.0, 3.4]])
    runs = [(arm, seed) for arm in "abc" for seed in (0, 1)]
    residual = losses - losses.mean(1, keepdims=True) - losses.mean(0) + losses.mean()
    noise = pooled_seed_noise(runs, losses.ravel())
    assert noise.degrees == 2
    assert noise.variance == pytest.approx((residual**2).sum() / 2)
    assert pooled_seed_noise([("a", 0), ("b", 0)], np.array([1.0, 2.0])) == SeedNoise(None, 0)


def test_without_document_noise_the_interval_is_the_paired_t_interval() -> None:
    a, b = np.array([1.0, 1.1, 1.3, 1.2]), np.array([1.5, 1.55, 1.7, 1.8])
    runs = tuple([("a", s) for s in range(4)] + [("b", s) for s in range(4)])
    losses = np.concatenate([a, b])
    table = PairedLosses(runs, losses, np.tile(losses, (50, 1)), 100)
    found = paired_difference(table, "a", "b", SeedNoise(None, 0), 0.95)
    assert found is not None
    reference = stats.ttest_rel(a, b)
    low, high = reference.confidence_interval(0.95)
    assert found.interval == pytest.approx((low, high))
    assert found.p_value == pytest.approx(reference.pvalue)


def test_identical_arms_have_p_one() -> None:
    runs = (("a", 0), ("a", 1), ("b", 0), ("b", 1))
    losses = np.array([1.0, 2.0, 1.0, 2.0])
    table = PairedLosses(runs, losses, np.tile(losses, (10, 1)), 10)
    found = paired_difference(table, "a", "b", pooled_seed_noise(runs, losses), 0.95)
    assert found is not None
    assert (found.difference, found.p_value) == (0.0, pytest.approx(1.0))


@pytest.mark.parametrize("num_seeds", [2, 3, 5])
def test_intervals_cover_the_true_difference(num_seeds: int) -> None:
    rng = np.random.default_rng(num_seeds)
    arms, hits, trials = 6, 0, 400
    runs = tuple((f"arm{a}", s) for a in range(arms) for s in range(num_seeds))
    for _ in range(trials):
        seed_effect = np.tile(rng.normal(0, 0.02, num_seeds), arms)
        document = rng.normal(0, 0.004, arms).repeat(num_seeds)  # what resampling documents would show
        losses = rng.normal(0, 0.01, arms * num_seeds) + seed_effect + document
        draws = losses + rng.normal(0, 0.004, (300, arms)).repeat(num_seeds, axis=1)
        table = PairedLosses(runs, losses, draws, 300)
        found = paired_difference(table, "arm0", "arm1", pooled_seed_noise(runs, losses), 0.95)
        assert found is not None
        hits += found.interval[0] <= 0.0 <= found.interval[1]
    assert 0.92 <= hits / trials <= 0.985


def test_no_common_seed_no_difference() -> None:
    table = PairedLosses((("a", 0), ("b", 1)), np.zeros(2), np.zeros((5, 2)), 5)
    assert paired_difference(table, "a", "b", SeedNoise(None, 0), 0.95) is None
    assert math.isclose(holm([0.2])[0] or 0, 0.2)
