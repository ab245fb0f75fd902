"""Power laws L(x) = C + A / x**B with A, B, C >= 0: bounded least squares that cannot miss the optimum.

For a given exponent B the law is linear in C and A, and the bounded optimum has a closed form. What is left is a search
in one dimension, done on a grid over all exponents and refined: no starting values, no local optimum, no failure to
converge. Every observation (each seed of each x) counts once; x is tokens, parameters, members or generations, and C is
the asymptote (docs/facts.md, section 9).

`law_intervals.py` gives the intervals; `fit_power_law` the point estimate with residuals and the leave-one-out check.
Shapes: N observations, E exponents.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import special

from megadocs.analysis.tables import FloatArray
from megadocs.errors import AnalysisError

#: Exponents considered. Below 0.01 the law is a logarithm, above 6 a step: neither end can be told from its neighbours.
EXPONENTS = np.exp(np.linspace(math.log(0.01), math.log(6.0), 120))
_ZOOMS = 3
_ZOOM_STEPS = np.linspace(0.0, 1.0, 17)


@dataclass(frozen=True, slots=True)
class PowerLaw:
    """A fitted law L(x) = asymptote + coefficient / x**exponent."""

    coefficient: float
    exponent: float
    asymptote: float

    def loss(self, x: FloatArray | float) -> FloatArray:
        """The law's loss at x."""
        return np.asarray(self.asymptote + self.coefficient * np.asarray(x, dtype=np.float64) ** -self.exponent)

    def inverse(self, loss: float) -> float:
        """The x at which the law reaches a loss; infinite at or below the asymptote."""
        if loss <= self.asymptote or self.coefficient <= 0:
            return float("inf")
        return exp_or_infinity(math.log(self.coefficient / (loss - self.asymptote)) / self.exponent)


def exp_or_infinity(power: float) -> float:
    """e to a power; infinite where that is past the largest number: a flat law reaches some losses nowhere."""
    return math.exp(power) if power < 700.0 else math.inf


@dataclass(frozen=True, slots=True)
class LawFit:
    """A fit with what is needed to judge it."""

    law: PowerLaw
    x: FloatArray  # float64 (N,)
    losses: FloatArray  # float64 (N,)
    residuals: FloatArray  # float64 (N,), loss minus law
    residual_sd: float | None  # square root of the residual sum of squares over N - 3; `None` where N is 3
    #: p-value of the F test of the law against free means at each size: small where the losses do not follow a power
    #: law; `None` without repeats. (Three sizes can miss it too: through the bounds.)
    lack_of_fit_p: float | None
    #: distinct x left out -> the law of the rest (empty where fewer than three would be left).
    leave_one_out: dict[float, PowerLaw]


class LawProblem:
    """Least squares for one data set, with parameters free or held.

    Args:
        x: N positive numbers.

    Raises:
        AnalysisError: fewer than three distinct x, or values that are not finite or not positive.
    """

    def __init__(self, x: Sequence[float] | FloatArray, losses: Sequence[float] | FloatArray) -> None:
        self.x, self.losses = np.asarray(x, dtype=np.float64), np.asarray(losses, dtype=np.float64)
        remedy = "leave out runs whose loss is NaN, and measure at least three different sizes"
        if self.x.shape != self.losses.shape or not np.all(np.isfinite(self.x)) or not np.all(np.isfinite(self.losses)):
            raise AnalysisError("a power law needs finite sizes and losses, one each", remedy=remedy)
        if np.any(self.x <= 0):
            raise AnalysisError("a power law needs positive sizes", remedy=remedy)
        if len(np.unique(self.x)) < 3:
            found = len(np.unique(self.x))
            raise AnalysisError(f"a power law needs three different sizes, there are {found}", remedy=remedy)
        self._scale = float(np.exp(np.log(self.x).mean()))
        self._log_x = np.log(self.x / self._scale)

    def best(self) -> tuple[PowerLaw, float]:
        """The least-squares law and its residual sum of squares."""
        exponent, rss = minimise_over_exponents(lambda exponents: self._linear(exponents)[2])
        asymptotes, coefficients, _ = self._linear(np.asarray([exponent]))
        return PowerLaw(float(coefficients[0] * self._scale**exponent), exponent, float(asymptotes[0])), rss

    def rss_at_exponent(self, exponent: float) -> float:
        """Residual sum of squares with B held."""
        return float(self._linear(np.asarray([exponent]))[2][0])

    def rss_at_asymptote(self, asymptote: float) -> float:
        """Residual sum of squares with C held, A and B free."""
        rest = self.losses - asymptote

        def rss(exponents: FloatArray) -> FloatArray:
            powers = np.exp(-exponents[:, None] * self._log_x)
            coefficients = np.maximum(powers @ rest / (powers**2).sum(axis=1), 0.0)
            return np.asarray(((rest - coefficients[:, None] * powers) ** 2).sum(axis=1))

        return minimise_over_exponents(rss)[1]

    def rss_at_coefficient(self, coefficient: float) -> float:
        """Residual sum of squares with A held, B and C free."""

        def rss(exponents: FloatArray) -> FloatArray:
            rest = self.losses - coefficient * self.x ** -exponents[:, None]
            asymptotes = np.maximum(rest.mean(axis=1), 0.0)
            return np.asarray(((rest - asymptotes[:, None]) ** 2).sum(axis=1))

        return minimise_over_exponents(rss)[1]

    def _linear(self, exponents: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Bounded C and scaled A for each exponent, and the residual sums of squares; each of shape (E,)."""
        powers = np.exp(-exponents[:, None] * self._log_x)
        return bounded_line(powers, self.losses)


def bounded_line(powers: FloatArray, losses: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Least squares of `losses` on `asymptote + coefficient * powers`, both at least 0, for each row of powers.

    Args:
        powers: (E, N).
        losses: (N,) or (E, N).

    Returns:
        asymptotes (E,), coefficients (E,), residual sums of squares (E,).
    """
    centre, level = powers.mean(axis=1), losses.mean(axis=-1)
    centred = powers - centre[:, None]
    slopes = np.maximum((centred * losses).sum(axis=1) / (centred**2).sum(axis=1), 0.0)
    starts = level - slopes * centre
    through_zero = np.maximum((powers * losses).sum(axis=1) / (powers**2).sum(axis=1), 0.0)
    slopes = np.where(starts < 0, through_zero, slopes)
    starts = np.maximum(starts, 0.0)
    rss = ((losses - starts[:, None] - slopes[:, None] * powers) ** 2).sum(axis=1)
    return starts, slopes, rss


def minimise_over_exponents(rss: Callable[[FloatArray], FloatArray]) -> tuple[float, float]:
    """The exponent of the smallest residual sum of squares, and that sum: the grid, then zooms into its best cell."""
    grid = EXPONENTS
    values = rss(grid)
    for _ in range(_ZOOMS):
        best = int(np.argmin(values))
        low, high = grid[max(best - 1, 0)], grid[min(best + 1, len(grid) - 1)]
        grid = np.exp(math.log(low) + _ZOOM_STEPS * math.log(high / low))
        values = rss(grid)
    best = int(np.argmin(values))
    return float(grid[best]), float(values[best])


def fit_power_law(x: Sequence[float] | FloatArray, losses: Sequence[float] | FloatArray) -> LawFit:
    """Fit the law and check it.

    Args:
        x: sizes, one per observation; repeats are seeds.
        losses: nats per token.

    Raises:
        AnalysisError: see `LawProblem`.
    """
    problem = LawProblem(x, losses)
    law, rss = problem.best()
    spare = len(problem.x) - 3
    sizes = np.unique(problem.x)
    others = {}
    if len(sizes) > 3:
        for size in sizes:
            rest = problem.x != size
            others[float(size)] = LawProblem(problem.x[rest], problem.losses[rest]).best()[0]
    return LawFit(
        law,
        problem.x,
        problem.losses,
        problem.losses - law.loss(problem.x),
        float(np.sqrt(rss / spare)) if spare else None,
        _lack_of_fit(problem, rss),
        others,
    )


def _lack_of_fit(problem: LawProblem, rss: float) -> float | None:
    """F test of what the law leaves over beyond the scatter of repeats."""
    sizes, groups = np.unique(problem.x, return_inverse=True)
    means = np.bincount(groups, weights=problem.losses) / np.bincount(groups)
    pure = float(((problem.losses - means[groups]) ** 2).sum())
    spare, repeats = len(sizes) - min(3, len(sizes) - 1), len(problem.x) - len(sizes)
    if repeats < 1 or pure <= 0:
        return None
    return float(special.fdtrc(spare, repeats, max(rss - pure, 0.0) / spare / (pure / repeats)))
