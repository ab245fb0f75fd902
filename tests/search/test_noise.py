import math

import numpy as np
import pytest
from scipy import stats

from megadocs.search import DIVERGED
from megadocs.search.noise import (
    Comparison,
    Noise,
    Trial,
    adjusted_means,
    compare,
    estimate_noise,
    losses_by_point,
)

A, B, C = (0,), (1,), (2,)


def test_failed_and_non_finite_trials_are_not_losses():
    losses = {Trial(B, 1): 2.0, Trial(A, 0): None, Trial(B, 0): 1.0, Trial(C, 0): math.nan}
    assert losses_by_point(losses) == {B: {0: 1.0, 1: 2.0}}


def test_losses_stand_by_point_and_seed_in_order_without_settings_that_diverged():
    losses = {Trial(C, 2): 3.0, Trial(C, 0): 4.0, Trial(B, 0): 1.0, Trial(B, 7): DIVERGED, Trial(A, 1): 5.0}
    found = losses_by_point(losses)
    assert [(point, list(by_seed.items())) for point, by_seed in found.items()] == [
        (A, [(1, 5.0)]),
        (C, [(0, 4.0), (2, 3.0)]),
    ]


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


def alternating(table, points):
    """Effects of settings and seeds by averaging what is left, in turn, until nothing moves."""
    chosen = {point: table[point] for point in points if len(table.get(point, ())) > 1}
    seeds = sorted({seed for by_seed in chosen.values() for seed in by_seed})
    of_point, of_seed = dict.fromkeys(chosen, 0.0), dict.fromkeys(seeds, 0.0)
    for _ in range(3000):
        for point, by_seed in chosen.items():
            of_point[point] = sum(loss - of_seed[seed] for seed, loss in by_seed.items()) / len(by_seed)
        for seed in seeds:
            left = [by_seed[seed] - of_point[point] for point, by_seed in chosen.items() if seed in by_seed]
            of_seed[seed] = sum(left) / len(left)
    squares = [
        (loss - of_point[point] - of_seed[seed]) ** 2
        for point, by_seed in chosen.items()
        for seed, loss in by_seed.items()
    ]
    freedom = len(squares) - len(chosen) - len(seeds) + 1
    return math.sqrt(sum(squares) / freedom), freedom, {seed: of_seed[seed] - of_seed[seeds[0]] for seed in seeds}


@pytest.mark.parametrize("points", [None, [A, B, C], [(4,), C, A, (9,)]])
def test_noise_of_uneven_repeats_equals_averaging_in_turn(points):
    """Seeds 2, 5 and 7; (3,) has one seed and says nothing, (9,) was never run."""
    table = {
        A: {2: 1.0, 5: 1.7, 7: 0.9},
        B: {5: 2.9, 7: 2.2},
        C: {2: 3.0, 7: 2.8},
        (3,): {2: 100.0},
        (4,): {2: 5.1, 5: 5.6, 7: 5.3},
    }
    noise = estimate_noise(table, points)
    sd, freedom, effects = alternating(table, table if points is None else points)
    assert noise.num_freedom == freedom
    assert noise.sd == pytest.approx(sd)
    assert noise.seed_effects == pytest.approx(effects)
    assert list(noise.seed_effects) == [2, 5, 7]
    assert noise.seed_effects[2] == 0.0


def test_without_repeats_noise_has_no_freedom_and_no_effects():
    assert estimate_noise({A: {0: 1.0}, B: {1: 2.0}}) == Noise(None, 0, {})
    assert estimate_noise({A: {0: 1.0, 1: 2.0}, B: {0: 5.0, 1: 9.0}}, []) == Noise(None, 0, {})
    assert estimate_noise({A: {0: 1.0, 1: 2.0}, B: {0: 5.0, 1: 9.0}}, [A]) == Noise(
        None, 0, {0: 0.0, 1: pytest.approx(1)}
    )


def test_a_seed_that_is_not_known_has_no_effect():
    noise = Noise(0.1, 4, {0: 0.0, 1: 0.5})
    assert adjusted_means({A: {0: 1.0, 1: 2.0, 9: 3.0}, B: {1: 4.0}}, noise) == {A: 5.5 / 3, B: 3.5}


#: Student's t at 95 % and at 90 % with three degrees of freedom, from tables.
T95, T90 = 2.3533634, 1.6377444


@pytest.mark.parametrize(
    ("margin", "confidence", "verdict"),
    [
        (T95 + 1e-5, 0.95, "worse"),
        (T95 - 1e-5, 0.95, "not separated"),
        (-T95 + 1e-5, 0.95, "not separated"),
        (-T95 - 1e-5, 0.95, "better"),
        (T90 + 1e-5, 0.9, "worse"),
        (T90 - 1e-5, 0.9, "not separated"),
    ],
)
def test_the_bound_of_two_pairs(margin, confidence, verdict):
    """Two pairs: the standard error of their mean difference is the noise itself."""
    compared = compare(
        {4: 1 + margin, 1: 1 + margin, 9: 0}, {1: 1, 4: 1, 8: 0}, Noise(1.0, 3, {}), confidence=confidence
    )
    assert compared == Comparison(verdict, pytest.approx(margin), 1.0, 2)


def test_eight_pairs_halve_the_error_of_two():
    pairs = {seed: float(seed) for seed in range(8)}
    found = compare({seed: loss + 9 for seed, loss in pairs.items()}, pairs, Noise(3.0, 9, {}), confidence=0.95)
    assert found == Comparison("worse", 9.0, 1.5, 8)


def test_comparisons_that_say_nothing():
    one, other = {0: 2.0, 1: 3.0}, {0: 1.0, 1: 1.0}
    assert compare(one, {2: 1.0}, Noise(0.1, 9, {}), confidence=0.95) == Comparison("not separated", None, None, 0)
    for noise in (Noise(0.1, 2, {}), Noise(None, 0, {}), Noise(None, 5, {})):
        assert compare(one, other, noise, confidence=0.95) == Comparison("not separated", 1.5, None, 2)
    assert compare(one, other, Noise(0.1, 3, {}), confidence=0.95).verdict == "worse"
    assert compare(one, one, Noise(0.0, 3, {}), confidence=0.95) == Comparison("not separated", 0.0, 0.0, 2)
