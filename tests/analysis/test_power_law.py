"""Power laws: exact recovery, agreement with scipy, bounds, intervals, published asymptotes."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.optimize import least_squares

from megadocs.analysis.law_intervals import (
    _crossings,
    fit_multiple,
    law_intervals,
    multiple_by_law,
    multiples_by_asymptote,
)
from megadocs.analysis.power_law import PowerLaw, fit_power_law
from megadocs.errors import AnalysisError

TRUE = PowerLaw(coefficient=1.137, exponent=0.23, asymptote=1.926)
SIZES = [0.2097 * 2**k for k in range(6)]


def noisy(num_seeds: int, sd: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    x = np.repeat(SIZES, num_seeds)
    return x, TRUE.loss(x) + np.random.default_rng(seed).normal(0, sd, len(x))


def test_a_loss_that_a_flat_law_reaches_past_all_numbers_is_at_infinity() -> None:
    assert multiple_by_law(2.0 + 1e-12, 3.0, 2.0, 0.02) == math.inf
    assert PowerLaw(1.0, 0.01, 2.0).inverse(2.0 + 1e-6) == math.inf
    assert multiple_by_law(2.5, 3.0, 2.0, 0.5) == pytest.approx(4.0)


@pytest.mark.parametrize("unit", [1.0, 1e9])
def test_exact_data_give_the_exact_law(unit: float) -> None:
    x = np.asarray(SIZES) * unit
    law = fit_power_law(x, TRUE.loss(np.asarray(SIZES))).law
    assert law.exponent == pytest.approx(TRUE.exponent, rel=1e-4)
    assert law.asymptote == pytest.approx(TRUE.asymptote, abs=1e-3)
    assert law.coefficient == pytest.approx(TRUE.coefficient * unit**TRUE.exponent, rel=3e-3)


def test_agrees_with_scipys_bounded_least_squares() -> None:
    x, losses = noisy(3, 0.005)
    found = fit_power_law(x, losses)
    reference = least_squares(
        lambda p: p[2] + p[0] * x ** -p[1] - losses, [1.0, 0.3, 1.5], bounds=(0, [10, 5, 5]), xtol=1e-14, ftol=1e-14
    )
    assert (found.residuals**2).sum() <= 2 * reference.cost * (1 + 1e-8)
    assert [found.law.coefficient, found.law.exponent, found.law.asymptote] == pytest.approx(reference.x, rel=2e-3)


def test_bounds_hold_where_the_data_pull_past_them() -> None:
    x = np.array([1.0, 2.0, 4.0, 8.0])
    assert fit_power_law(x, 3 - np.log(x)).law.asymptote == 0.0  # concave: no asymptote
    rising = fit_power_law(x, 1 + 0.1 * x).law
    assert rising.coefficient == 0.0
    assert rising.asymptote == pytest.approx((1 + 0.1 * x).mean())


def test_published_ensemble_asymptotes() -> None:
    members = [1, 2, 3, 4, 5]
    series = {
        3.31: [3.6913, 3.4846, 3.4234, 3.3892, 3.3732],
        3.325: [3.4775, 3.4003, 3.3745, 3.3621, 3.3546],
        3.21: [3.4092, 3.3026, 3.2689, 3.2520, 3.2422],
    }
    for asymptote, losses in series.items():
        assert fit_power_law(members, losses).law.asymptote == pytest.approx(asymptote, abs=0.01)


def test_interval_ends_lie_on_the_likelihood_limit_and_contain_the_fit() -> None:
    x, losses = noisy(5, 0.005)
    fit = fit_power_law(x, losses)
    found = law_intervals(fit, 0.95)
    assert found is not None
    assert found.coefficient[0] < fit.law.coefficient < found.coefficient[1]
    assert found.exponent[0] < fit.law.exponent < found.exponent[1]
    assert found.asymptote[0] < fit.law.asymptote < found.asymptote[1]
    assert found.is_asymptote_identified
    wider = law_intervals(fit, 0.99)
    assert wider is not None
    assert wider.exponent[0] < found.exponent[0]


def test_a_short_noisy_curve_does_not_identify_its_asymptote() -> None:
    x = np.repeat(SIZES[:4], 3)
    losses = TRUE.loss(x) + np.random.default_rng(1).normal(0, 0.08, len(x))
    found = law_intervals(fit_power_law(x, losses), 0.95)
    assert found is not None
    assert not found.is_asymptote_identified
    assert found.asymptote[0] == 0.0


def test_an_interval_ends_at_the_first_rise_before_a_far_valley() -> None:
    def profile(x: float) -> float:
        return 2.0 if 1 < x < 3 or x > 4 else 0.0

    assert _crossings(profile, 0.0, (-5.0, 5.0), 1.0) == (-math.inf, pytest.approx(1, abs=1e-6))
    assert _crossings(lambda x: profile(-x), 0.0, (-5.0, 5.0), 1.0) == (pytest.approx(-1, abs=1e-6), math.inf)


def test_no_spare_observation_no_interval() -> None:
    fit = fit_power_law([1, 2, 4], [3.0, 2.5, 2.2])
    assert fit.residual_sd is None
    assert law_intervals(fit, 0.95) is None


def test_leave_one_out_and_lack_of_fit() -> None:
    x, losses = noisy(5, 0.005)
    fit = fit_power_law(x, losses)
    assert sorted(fit.leave_one_out) == pytest.approx(SIZES)
    assert fit.lack_of_fit_p is not None
    assert fit.lack_of_fit_p > 0.001
    bent = losses + 0.05 * (x == SIZES[2])
    bent_p = fit_power_law(x, bent).lack_of_fit_p
    assert bent_p is not None
    assert bent_p < 1e-4


def test_multiplier_by_law() -> None:
    assert multiple_by_law(3.4097, 3.5544, 1.926, 0.232) == pytest.approx(1.49, abs=0.005)
    assert multiple_by_law(1.9, 3.5544, 1.926, 0.232) == math.inf
    x, losses = noisy(5, 0.002)
    fit = fit_power_law(x, losses)
    arm = TRUE.loss(SIZES[0] * 1.5) + np.random.default_rng(3).normal(0, 0.002, 5)
    found = fit_multiple(fit, SIZES[0], arm, 0.95)
    assert found is not None
    assert found.interval[0] < 1.5 < found.interval[1]
    assert found.estimate == pytest.approx(1.5, abs=0.03)
    intervals = law_intervals(fit, 0.95)
    assert intervals is not None
    rows = multiples_by_asymptote(fit, intervals, SIZES[0], float(arm.mean()))
    assert len(rows) == 5
    assert rows[0][1] > rows[-1][1]


def test_far_past_the_data_the_multiplier_has_no_upper_end() -> None:
    x, losses = noisy(3, 0.02)
    found = fit_multiple(fit_power_law(x, losses), SIZES[0], [1.9, 1.92, 1.88], 0.95)
    assert found is not None
    assert found.interval[1] == math.inf
    assert found.interval[0] > 10


@pytest.mark.parametrize(
    "x, losses",
    [([1, 2], [3.0, 2.0]), ([1, 2, 3], [3.0, float("nan"), 2.0]), ([0, 1, 2], [3.0, 2.5, 2.0]), ([1, 1, 2], [3, 2, 1])],
)
def test_bad_input_is_refused_with_a_remedy(x: list[float], losses: list[float]) -> None:
    with pytest.raises(AnalysisError) as caught:
        fit_power_law(x, losses)
    assert caught.value.remedy


@pytest.mark.slow
def test_profile_intervals_cover() -> None:
    rng, x, hits = np.random.default_rng(5), np.repeat(SIZES[:4], 3), np.zeros(2)
    for _ in range(200):
        fit = fit_power_law(x, TRUE.loss(x) + rng.normal(0, 0.005, len(x)))
        found = law_intervals(fit, 0.95)
        assert found is not None
        hits += [
            found.exponent[0] <= TRUE.exponent <= found.exponent[1],
            found.asymptote[0] <= TRUE.asymptote <= found.asymptote[1],
        ]
    assert np.all(hits / 200 > 0.90)
