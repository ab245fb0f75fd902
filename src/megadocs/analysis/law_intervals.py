"""Intervals for power laws and for the multiplier they imply, by profile likelihood.

A value of a parameter belongs to the interval when holding the parameter there, and fitting the others, raises the
residual sum of squares by no more than the F quantile allows: `rss(value) <= rss_min * (1 + F / degrees)`. It needs no
symmetry, respects the bounds, and says so when there is no upper or lower end. Profile likelihood was chosen over the
parametric bootstrap by measured coverage (benchmarks/bench_coverage.py, docs/statistics.md).

The multiplier of an arm is treated the same way: its runs are observations of the real-only law at an unknown size
`multiple * base`, so the uncertainty of the law, of its asymptote and of the arm's own runs is in one interval.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import special

from megadocs.analysis.power_law import (
    LawFit,
    LawProblem,
    bounded_line,
    exp_or_infinity,
    minimise_over_exponents,
)
from megadocs.analysis.tables import FloatArray
from megadocs.errors import AnalysisError

Interval = tuple[float, float]

#: A wider interval of the asymptote than this many nats says nothing useful about it (issue: "C not identified").
MAX_ASYMPTOTE_WIDTH = 0.3
_EXPONENT_RANGE = (0.01, 6.0)
_LOG_MULTIPLE_RANGE = (math.log(1e-3), math.log(1e4))


@dataclass(frozen=True, slots=True)
class LawIntervals:
    """Intervals of A, B, C; ends at a bound of the search are 0 or infinite."""

    coefficient: Interval
    exponent: Interval
    asymptote: Interval

    @property
    def is_asymptote_identified(self) -> bool:
        """False where the interval of C includes 0 or is wider than `MAX_ASYMPTOTE_WIDTH`."""
        low, high = self.asymptote
        return low > 0 and high - low <= MAX_ASYMPTOTE_WIDTH


@dataclass(frozen=True, slots=True)
class LawMultiple:
    """Data efficiency by the fitted law."""

    #: ((base - C) / (loss - C)) ** (1 / B) with the measured base loss; infinite at or below the asymptote.
    estimate: float
    interval: Interval  # profile-likelihood interval; the upper end is infinite where the law cannot bound it


def law_intervals(fit: LawFit, confidence: float) -> LawIntervals | None:
    """Profile-likelihood intervals of a fit; `None` where no observation is left over to measure the noise."""
    problem = LawProblem(fit.x, fit.losses)
    degrees = len(fit.x) - 3
    if degrees < 1:
        return None
    law, rss = problem.best()
    limit = _limit(rss, degrees, confidence)
    low_b, high_b = _crossings(
        lambda log_b: problem.rss_at_exponent(math.exp(log_b)),
        math.log(law.exponent),
        (math.log(_EXPONENT_RANGE[0]), math.log(_EXPONENT_RANGE[1])),
        limit,
    )
    exponent = (math.exp(low_b) if math.isfinite(low_b) else 0.0, math.exp(high_b))
    low_c, high_c = _crossings(problem.rss_at_asymptote, law.asymptote, (0.0, float(fit.losses.min())), limit)
    coefficient = (0.0, math.inf)
    if law.coefficient > 0:
        start = math.log(law.coefficient)
        low_a, high_a = _crossings(
            lambda log_a: problem.rss_at_coefficient(math.exp(log_a)), start, (start - 40.0, start + 40.0), limit
        )
        coefficient = (math.exp(low_a) if math.isfinite(low_a) else 0.0, math.exp(high_a))
    return LawIntervals(coefficient, exponent, (max(low_c, 0.0), high_c))


def multiple_by_law(loss: float, base_loss: float, asymptote: float, exponent: float) -> float:
    """Data efficiency ((base - C) / (loss - C)) ** (1 / B): A cancels (docs/facts.md, section 9). Infinite past C."""
    if base_loss <= asymptote:
        raise AnalysisError("the baseline's loss is at or below the asymptote", remedy="fit the law to these runs")
    if loss <= asymptote:
        return math.inf
    return exp_or_infinity(math.log((base_loss - asymptote) / (loss - asymptote)) / exponent)


def fit_multiple(
    fit: LawFit, base_size: float, arm_losses: Sequence[float] | FloatArray, confidence: float
) -> LawMultiple | None:
    """The multiplier of an arm on a real-only law, with its interval.

    Args:
        base_size: real tokens of the baseline; one of the fitted sizes.
        arm_losses: the arm's losses, one per seed.

    Returns:
        `None` where the law has no slope or no observation is left over to measure the noise.
    """
    arm = np.asarray(arm_losses, dtype=np.float64)
    degrees = len(fit.x) + len(arm) - 4
    if degrees < 1 or fit.law.coefficient <= 0 or not np.all(np.isfinite(arm)):
        return None
    estimate = multiple_by_law(float(arm.mean()), _base_loss(fit, base_size), fit.law.asymptote, fit.law.exponent)
    profile = _multiple_profile(fit, base_size, arm)
    at = math.log(fit.law.inverse(float(arm.mean())) / base_size)
    start = min(max(at, _LOG_MULTIPLE_RANGE[0]), _LOG_MULTIPLE_RANGE[1])
    low, high = _crossings(profile, start, _LOG_MULTIPLE_RANGE, _limit(profile(start), degrees, confidence))
    interval = (math.exp(low) if math.isfinite(low) else 0.0, math.exp(high))
    return LawMultiple(estimate, interval)


def multiples_by_asymptote(
    fit: LawFit, intervals: LawIntervals, base_size: float, loss: float
) -> list[tuple[float, float]]:
    """How the multiplier of a loss hangs on the asymptote: (C, multiplier) at five C across the interval of C.

    At each C the law is fitted again with C held, so that B follows.
    """
    low, high = intervals.asymptote
    base_loss = _base_loss(fit, base_size)
    rows = []
    for asymptote in np.linspace(low, min(high, float(fit.losses.min()) - 1e-6), 5):
        slope = np.polyfit(np.log(fit.x), np.log(fit.losses - asymptote), 1)[0]
        rows.append((float(asymptote), multiple_by_law(loss, base_loss, float(asymptote), max(-float(slope), 1e-6))))
    return rows


def _base_loss(fit: LawFit, base_size: float) -> float:
    return float(fit.losses[fit.x == base_size].mean())


def _multiple_profile(fit: LawFit, base_size: float, arm: FloatArray) -> Callable[[float], float]:
    """Residual sum of squares with the multiplier held: the arm's runs stand at multiple * base_size."""
    losses = np.concatenate([fit.losses, arm])
    scale = math.log(base_size)

    def profile(log_multiple: float) -> float:
        log_x = np.concatenate([np.log(fit.x) - scale, np.full(len(arm), log_multiple)])
        return minimise_over_exponents(lambda exponents: bounded_line(np.exp(-exponents[:, None] * log_x), losses)[2])[
            1
        ]

    return profile


def _limit(rss: float, degrees: int, confidence: float) -> float:
    return rss * (1.0 + float(special.fdtri(1, degrees, confidence)) / degrees)


def _crossings(profile: Callable[[float], float], start: float, bounds: Interval, limit: float) -> Interval:
    """Where the profile rises past the limit on either side of the optimum; infinite where it never does."""
    low, high = (_crossing(profile, start, bound, limit) for bound in bounds)
    return -math.inf if low is None else low, math.inf if high is None else high


def _crossing(profile: Callable[[float], float], inside: float, bound: float, limit: float) -> float | None:
    if profile(bound) <= limit:
        return None
    step, outside = (bound - inside) / 64.0, bound
    for k in range(1, 65):  # the first rise, so that a far valley is not mistaken for the near wall
        if profile(inside + k * step) > limit:
            outside = inside + k * step
            inside += (k - 1) * step
            break
    for _ in range(40):
        middle = 0.5 * (inside + outside)
        inside, outside = (middle, outside) if profile(middle) <= limit else (inside, middle)
        if abs(outside - inside) < 1e-7 * (1.0 + abs(inside)):
            break
    return 0.5 * (inside + outside)
