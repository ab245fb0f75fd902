"""Data efficiency without a law: where an arm's loss lies on the measured real-only curve.

The curve is piecewise linear in the logarithm of real tokens through the measured real-only arms. An arm's multiplier
is the tokens at which the curve reaches its loss, divided by the baseline's tokens. Nothing is extrapolated: past the
ends the answer is a bound ("more than 4.0x", "less than 1.0x"). The interval comes from document draws
with seed noise added to every arm involved, so the curve's own uncertainty is in it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy import special

from megadocs.analysis.document_noise import uniforms
from megadocs.analysis.seed_noise import SeedNoise
from megadocs.analysis.tables import FloatArray

Relation = Literal["equal", "more than", "less than"]


@dataclass(frozen=True, slots=True)
class Multiple:
    """A multiple of the baseline's real tokens: an equality, or a bound at an end of the measured curve."""

    value: float
    relation: Relation = "equal"


@dataclass(frozen=True, slots=True)
class RealCurve:
    """The measured real-only curve: K arms, ascending in tokens."""

    arms: tuple[str, ...]
    tokens: FloatArray  # float64 (K,), real tokens, strictly ascending
    losses: FloatArray  # float64 (K,)
    baseline: int  # index of the baseline among them

    def is_falling(self) -> bool:
        """More real documents, lower loss, at every point."""
        return bool(np.all(np.diff(self.losses) < 0))


def log_multiples(losses: FloatArray, curve_losses: FloatArray, log_tokens: FloatArray, baseline: int) -> FloatArray:
    """Log multiple of each loss on its own falling curve; -inf above its first point, +inf below its last.

    Args:
        losses: (B,) losses of an arm.
        curve_losses: (B, K) curves, one per loss.
        log_tokens: (K,) ascending.
        baseline: index of the point that is 1x.

    Returns:
        (B,) log multiples; NaN where a curve does not fall or a loss is NaN.
    """
    result = np.full(losses.shape, np.nan)
    falling = np.all(np.diff(curve_losses, axis=1) < 0, axis=1) & np.isfinite(losses)
    result[falling & (losses > curve_losses[:, 0])] = -np.inf
    result[falling & (losses < curve_losses[:, -1])] = np.inf
    for k in range(len(log_tokens) - 1):
        upper, lower = curve_losses[:, k], curve_losses[:, k + 1]
        inside = falling & (losses <= upper) & (losses >= lower)
        share = (upper[inside] - losses[inside]) / (upper[inside] - lower[inside])
        result[inside] = log_tokens[k] + share * (log_tokens[k + 1] - log_tokens[k]) - log_tokens[baseline]
    return result


def multiple_of(log_multiple: float, curve: RealCurve) -> Multiple | None:
    """A log multiple as `Multiple`; infinities become bounds at the curve's ends, NaN becomes `None`."""
    if math.isnan(log_multiple):
        return None
    if math.isinf(log_multiple):
        end = -1 if log_multiple > 0 else 0
        return Multiple(float(curve.tokens[end] / curve.tokens[curve.baseline]), "more than" if end else "less than")
    return Multiple(math.exp(log_multiple))


def measured_multiple(loss: float, curve: RealCurve) -> Multiple | None:
    """The multiplier of one loss on the measured curve; `None` where the curve does not fall or the loss is NaN."""
    found = log_multiples(np.asarray([loss]), curve.losses[None, :], np.log(curve.tokens), curve.baseline)
    return multiple_of(float(found[0]), curve)


def multiple_interval(
    loss_draws: FloatArray, curve_draws: FloatArray, curve: RealCurve, confidence: float
) -> tuple[Multiple | None, Multiple | None]:
    """Central interval of the multiplier over draws.

    A draw whose curve does not fall says nothing; it counts half to either side, which widens the interval.

    Args:
        loss_draws: (B,) the arm.
        curve_draws: (B, K) the curve in the same draws.
    """
    logs = log_multiples(loss_draws, curve_draws, np.log(curve.tokens), curve.baseline)
    silent = np.isnan(logs)
    both_sides = np.sort(np.concatenate([np.where(silent, -np.inf, logs), np.where(silent, np.inf, logs)]))
    skip = math.floor((1.0 - confidence) / 2.0 * len(both_sides))  # order statistics: infinities do not interpolate
    return multiple_of(float(both_sides[skip]), curve), multiple_of(float(both_sides[-1 - skip]), curve)


def seed_noise_draws(noise: Sequence[SeedNoise], seeds_per_arm: Sequence[int], num_draws: int, seed: int) -> FloatArray:
    """Noise of arm means over seeds, (B, A): normal, its variance itself drawn from its scaled inverse chi-squared.

    The variance is drawn once per draw for all arms that share an estimate, so few degrees of freedom widen the
    interval as Student's t would. Zero where seed noise is not measured.

    Args:
        seeds_per_arm: how many seeds its mean is over.
        num_draws: B.
    """
    num_arms = len(seeds_per_arm)
    normal = special.ndtri(uniforms(seed, num_draws * num_arms, num_draws)).reshape(num_draws, num_arms)
    shared = uniforms(seed, num_draws)
    degrees = {own.degrees for own in noise if own.variance is not None}
    chi_squared = {number: special.chdtri(number, shared) for number in degrees}  # most of the time: once for all arms
    draws = np.zeros((num_draws, num_arms))
    for index, (own, num_seeds) in enumerate(zip(noise, seeds_per_arm, strict=True)):
        if own.variance is not None:
            variance = own.variance * own.degrees / chi_squared[own.degrees]
            draws[:, index] = normal[:, index] * np.sqrt(variance / num_seeds)
    return draws
