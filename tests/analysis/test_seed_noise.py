"""Noise between seeds: pooled where arms are equally noisy, by class or by arm where they are not."""

from __future__ import annotations

import numpy as np
import pytest

from megadocs.analysis.seed_noise import SeedNoise, equal_noise_p, pooled_seed_noise, satterthwaite, seed_noise

CLASSES = {"a": "real", "b": "real", "c": "real", "d": "synthetic", "e": "synthetic", "f": "synthetic"}


def runs_of(num_seeds: int, arms: str = "abcdef") -> list[tuple[str, int]]:
    return [(arm, seed) for arm in arms for seed in range(num_seeds)]


def test_pooled_noise_is_the_two_way_residual() -> None:
    losses = np.array([[1.0, 1.2], [2.0, 2.1], [3.0, 3.4]])
    residual = losses - losses.mean(1, keepdims=True) - losses.mean(0) + losses.mean()
    noise = pooled_seed_noise(runs_of(2, "abc"), losses.ravel())
    assert noise.degrees == 2
    assert noise.variance == pytest.approx((residual**2).sum() / 2)
    assert pooled_seed_noise([("a", 0), ("b", 0)], np.array([1.0, 2.0])) == SeedNoise(None, 0)


def test_degrees_of_a_sum_of_variances() -> None:
    assert satterthwaite((2.0, 4.0), (1.0, 8.0)) == pytest.approx(9 / (4 / 4 + 1 / 8))
    assert satterthwaite((3.0, 0.5)) == 1.0  # less than one degree is one
    assert satterthwaite((0.0, 5.0), (0.0, 3.0)) == 3.0
    assert satterthwaite((0.0, 0.0)) == 1.0


def test_equal_noise_is_forbidden_as_often_as_the_level_says() -> None:
    rng = np.random.default_rng(0)
    p_values = [equal_noise_p(runs_of(3), rng.normal(0, 0.01, 18)) for _ in range(400)]
    assert 0.02 <= np.mean([p < 0.05 for p in p_values if p is not None]) <= 0.08
    assert equal_noise_p(runs_of(3, "ab"), rng.normal(0, 1, 6)) is None  # two arms have residuals of one size


def test_equally_noisy_arms_share_one_estimate() -> None:
    losses = np.random.default_rng(1).normal(0, 0.01, 18)
    noise = seed_noise(runs_of(3), losses, CLASSES)
    found = noise.of_difference("a", "d", losses[:3] - losses[9:12])
    assert noise.pooled.variance is not None
    assert (found.method, found.degrees) == ("pooled", 10)
    assert found.variance == pytest.approx(2 * noise.pooled.variance / 3)


def test_a_noisy_class_keeps_its_noise_to_itself() -> None:
    rng = np.random.default_rng(7)
    losses = np.concatenate([rng.normal(0, 0.001, 15), rng.normal(0, 0.1, 15)])
    noise = seed_noise(runs_of(5), losses, CLASSES)
    assert set(noise.methods.values()) == {"class"}
    small = noise.of_difference("a", "b", losses[:5] - losses[5:10])
    large = noise.of_difference("d", "e", losses[15:20] - losses[20:25])
    mixed = noise.of_difference("a", "d", losses[:5] - losses[15:20])
    assert small.variance is not None
    assert large.variance is not None
    assert mixed.variance is not None
    assert small.variance < mixed.variance / 10 < large.variance / 10
    assert mixed.degrees == pytest.approx(large.degrees, rel=0.1)


def test_an_arm_unlike_its_class_is_compared_by_its_own_seeds() -> None:
    rng = np.random.default_rng(3)
    losses = rng.normal(0, 0.001, 48)
    losses[:8] = rng.normal(0, 1.0, 8)
    noise = seed_noise(runs_of(8), losses, CLASSES)
    per_seed = losses[:8] - losses[24:32]
    found = noise.of_difference("a", "d", per_seed)
    assert (found.method, found.degrees) == ("own", 7)
    assert found.variance == pytest.approx(np.var(per_seed, ddof=1) / 8)


def test_each_pair_has_its_own_noise_where_pooling_is_off() -> None:
    losses = np.random.default_rng(4).normal(0, 0.01, 18)
    found = seed_noise(runs_of(3), losses, CLASSES, pool=False).of_difference("a", "b", losses[:3] - losses[3:6])
    assert (found.method, found.degrees) == ("own", 2)


def test_the_noise_of_a_loss_holds_what_the_seeds_do_to_all_arms() -> None:
    shared = np.tile([0.3, -0.3, 0.0], 6)
    losses = np.random.default_rng(5).normal(0, 0.001, 18) + shared
    noise = seed_noise(runs_of(3), losses, CLASSES)
    (variance, degrees), (own, _) = noise.of_loss(3)
    assert variance == pytest.approx(0.09 / 3, rel=0.05)
    assert degrees == 2
    assert own < 1e-6
    assert noise.pooled.variance is not None
    assert noise.pooled.variance < 1e-5


def test_one_seed_measures_nothing() -> None:
    noise = seed_noise(runs_of(1), np.arange(6.0), CLASSES)
    assert noise.of_difference("a", "b", np.array([1.0])).method == "not measured"
    assert noise.of_loss(1) == []


def test_arms_of_one_run_leave_the_test_of_equal_noise_as_it_is() -> None:
    rng = np.random.default_rng(9)
    losses = np.concatenate([rng.normal(0, 0.001, 6), rng.normal(0, 0.1, 6)])
    runs = runs_of(3, "abcd")
    lone = [*runs, ("e", 0), ("f", 2)]
    assert equal_noise_p(lone, np.append(losses, [5.0, 7.0])) == equal_noise_p(runs, losses)
    assert equal_noise_p([*runs_of(3, "ab"), ("c", 0)], np.append(losses[:6], 1.0)) is None


@pytest.mark.parametrize("num_seeds", [2, 3])
def test_a_pair_of_its_own_is_rid_of_what_seeds_do_to_both(num_seeds: int) -> None:
    shared = np.tile(np.array([0.5, -0.5, 0.0])[:num_seeds], 6)
    losses = np.random.default_rng(6).normal(0, 0.001, 6 * num_seeds) + shared
    per_seed = losses[:num_seeds] - losses[3 * num_seeds : 4 * num_seeds]
    found = seed_noise(runs_of(num_seeds), losses, CLASSES, pool=False).of_difference("a", "d", per_seed)
    assert (found.method, found.degrees) == ("own", num_seeds - 1)
    assert found.variance == pytest.approx(np.var(per_seed, ddof=1) / num_seeds)
    assert found.variance is not None
    assert found.variance < 1e-4


def test_an_arm_of_one_run_borrows_nothing_where_each_has_its_own_noise() -> None:
    runs = [*runs_of(3, "ab"), ("c", 0)]
    noise = seed_noise(runs, np.random.default_rng(8).normal(0, 0.01, 7), CLASSES, pool=False)
    assert noise.methods == {"a": "own", "b": "own", "c": "not measured"}
    assert noise.of_arm("c") == SeedNoise(None, 0)
    assert noise.of_difference("a", "c", np.array([0.1])).method == "not measured"
    assert seed_noise(runs, np.arange(7.0), CLASSES).of_difference("a", "c", np.array([0.1])).method == "pooled"
