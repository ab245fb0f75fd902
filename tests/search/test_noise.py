import math

import numpy as np
import pytest
from scipy import stats

from megadocs.search.noise import Trial, adjusted_means, compare, estimate_noise, losses_by_point

A, B, C = (0,), (1,), (2,)


def test_failed_and_non_finite_trials_are_not_losses():
    losses = {Trial(B, 1): 2.0, Trial(A, 0): None, Trial(B, 0): 1.0, Trial(C, 0): math.nan}
    assert losses_by_point(losses) == {B: {0: 1.0, 1: 2.0}}


def test_noise_equals_the_two_way_analysis_of_variance():
    draw = np.random.default_rng(0)
    values = draw.normal(size=(5, 3)) + np.array([0.0, 4.0, -2.0])
    table = {(i,): dict(enumerate(row)) for i, row in enumerate(values.tolist())}
    residual = values - values.mean(1, keepdims=True) - values.mean(0) + values.mean()
    noise = estimate_noise(table)
    assert noise.num_freedom == (5 - 1) * (3 - 1)
    assert noise.sd == pytest.approx(math.sqrt((residual**2).sum() / 8))
    assert noise.seed_effects[1] == pytest.approx(values.mean(0)[1] - values.mean(0)[0])


def test_noise_is_unknown_without_repeated_settings():
    noise = estimate_noise({A: {0: 1.0}, B: {0: 2.0}})
    assert noise.sd is None
    one = estimate_noise({A: {0: 1.0, 1: 2.0}, B: {0: 2.0}})  # two seeds, one setting: the seed's effect explains it
    assert (one.sd, one.num_freedom) == (None, 0)


def test_a_seed_that_shifts_every_loss_leaves_means_comparable():
    table = {A: {0: 1.0, 1: 6.0}, B: {0: 2.0, 1: 7.0}, C: {0: 1.5}}
    means = adjusted_means(table, estimate_noise(table))
    assert [means[p] for p in (A, B, C)] == pytest.approx([1.0, 2.0, 1.5])


def test_comparison_is_the_one_sided_paired_test_at_the_pooled_noise():
    table = {A: {0: 1.0, 1: 2.1, 2: 0.9}, B: {0: 1.4, 1: 2.3, 2: 1.4}, C: {0: 1.1, 1: 2.1, 2: 1.0}}
    noise = estimate_noise(table)
    compared = compare(table[B], table[A], noise, confidence=0.95)
    assert compared.margin == pytest.approx((0.4 + 0.2 + 0.5) / 3)
    assert compared.margin_error == pytest.approx(noise.sd * math.sqrt(2 / 3))
    assert compared.verdict == "worse"
    assert compared.margin > stats.t.ppf(0.95, noise.num_freedom) * compared.margin_error
    assert compare(table[A], table[B], noise, confidence=0.95).verdict == "better"
    assert compare(table[C], table[A], noise, confidence=0.95).verdict == "not separated"


def test_only_common_seeds_are_compared():
    noise = estimate_noise({A: {0: 1.0, 1: 1.0}, B: {0: 2.0, 1: 2.1}})
    compared = compare({1: 3.0}, {0: 1.0, 1: 1.0}, noise, confidence=0.95)
    assert (compared.margin, compared.num_pairs) == (2.0, 1)
    assert compare({2: 3.0}, {0: 1.0}, noise, confidence=0.95).margin is None


def test_one_seed_separates_nothing():
    noise = estimate_noise({A: {0: 1.0}, B: {0: 9.0}})
    assert compare({0: 9.0}, {0: 1.0}, noise, confidence=0.95).verdict == "not separated"


def test_few_repeats_that_happen_to_agree_separate_nothing():
    table = {A: {0: 1.0, 1: 2.0}, B: {0: 1.5, 1: 2.5001}}
    noise = estimate_noise(table)
    assert noise.sd < 1e-4
    compared = compare(table[B], table[A], noise, confidence=0.95)
    assert (compared.verdict, compared.margin_error) == ("not separated", None)


def test_without_noise_any_margin_separates_and_none_does_not():
    noise = estimate_noise({point: {0: 1.0, 1: 2.0, 2: 0.5} for point in (A, B, C)})
    assert noise.sd == pytest.approx(0, abs=1e-12)
    assert compare({0: 1.5, 1: 2.5}, {0: 1.0, 1: 2.0}, noise, confidence=0.95).verdict == "worse"
