"""Multiples on a measured curve by hand: inside, at its points, past its ends, and their intervals over draws."""

import math

import numpy as np
import pytest

from megadocs.analysis.efficiency import (
    Multiple,
    RealCurve,
    log_multiples,
    measured_multiple,
    multiple_interval,
    multiple_of,
    seed_noise_draws,
)
from megadocs.analysis.seed_noise import SeedNoise

#: Baseline at 200 tokens; a point below it, two above.
CURVE = RealCurve(
    ("half", "one", "two", "eight"), np.array([100.0, 200.0, 400.0, 1600.0]), np.array([6.0, 5.0, 4.0, 2.0]), 1
)


@pytest.mark.parametrize(
    ("loss", "value", "relation"),
    [
        (5.0, 1.0, "equal"),
        (4.0, 2.0, "equal"),
        (4.5, math.sqrt(2), "equal"),
        (3.0, 4.0, "equal"),
        (2.0, 8.0, "equal"),
        (1.9, 8.0, "more than"),
        (5.5, math.sqrt(0.5), "equal"),
        (6.0, 0.5, "equal"),
        (6.1, 0.5, "less than"),
    ],
)
def test_a_loss_on_the_curve(loss: float, value: float, relation: str) -> None:
    found = measured_multiple(loss, CURVE)
    assert found is not None
    assert (found.value, found.relation) == (pytest.approx(value), relation)


def test_a_loss_that_is_no_number_and_a_curve_that_does_not_fall_have_none() -> None:
    assert measured_multiple(math.nan, CURVE) is None
    assert CURVE.is_falling()
    flat = RealCurve(("one", "two"), np.array([1.0, 2.0]), np.array([3.0, 3.0]), 0)
    assert not flat.is_falling()
    assert measured_multiple(3.0, flat) is None
    assert multiple_of(math.nan, flat) is None
    assert (Multiple(1.5).relation, multiple_of(0.0, flat)) == ("equal", Multiple(1.0))


def test_each_loss_is_read_off_its_own_curve() -> None:
    curves = np.array([[5.0, 4.0], [5.0, 3.0], [3.0, 5.0], [5.0, 4.0]])
    found = log_multiples(np.array([4.5, 4.5, 4.5, math.inf]), curves, np.log([1.0, 2.0]), 0)
    assert found[:2] == pytest.approx([0.5 * math.log(2), 0.25 * math.log(2)])
    assert np.isnan(found[2:]).all()


def test_ends_of_an_interval_are_order_statistics() -> None:
    curves = np.tile(CURVE.losses, (1000, 1))
    losses = np.linspace(5.0, 4.0, 1000)
    low, high = multiple_interval(losses, curves, CURVE, 0.9)
    assert low is not None
    assert high is not None
    assert math.log2(low.value) == pytest.approx(50 / 999, abs=2e-3)  # a twentieth of the draws on either side
    assert math.log2(high.value) == pytest.approx(949 / 999, abs=2e-3)
    assert (low.relation, high.relation) == ("equal", "equal")


def test_silent_draws_count_half_to_either_side() -> None:
    curves = np.tile(CURVE.losses, (100, 1))
    curves[:8] = CURVE.losses[::-1]  # a rising curve says nothing: 4 % of the draws on either side
    losses = np.full(100, 4.5)
    inside = multiple_interval(losses, curves, CURVE, 0.9)
    assert [end.value for end in inside if end] == pytest.approx([math.sqrt(2)] * 2)
    outside = multiple_interval(losses, curves, CURVE, 0.95)
    assert outside == (Multiple(0.5, "less than"), Multiple(8.0, "more than"))


def test_seed_noise_has_the_spread_of_a_mean_and_heavier_tails_with_fewer_degrees() -> None:
    shared = SeedNoise(0.04, 200)
    draws = seed_noise_draws([shared, shared, SeedNoise(None, 0), SeedNoise(0.04, 4)], [1, 4, 3, 1], 20_000, seed=3)
    assert draws.std(axis=0)[:2] == pytest.approx([0.2, 0.1], rel=0.03)
    assert not draws[:, 2].any()
    assert draws[:, 3].std() == pytest.approx(0.2 * math.sqrt(2), rel=0.1)  # variance of t with 4 degrees is 2
    assert abs(np.corrcoef(draws[:, 0], draws[:, 1])[0, 1]) < 0.03
    same = seed_noise_draws([SeedNoise(0.04, 3)] * 2, [1, 1], 20_000, seed=3)
    assert np.corrcoef(np.square(same).T)[0, 1] > 0.02  # one estimate of the variance for both arms
