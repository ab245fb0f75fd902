"""How much of an arm's gain over the baseline a control without meaning has, too, with Fieller's interval.

    share = gain_share(table, "simple", "shuffled_words", baseline="real_only", confidence=0.95)
    share.value, share.interval     # 0.61, (0.52, 0.70)

With losses b of the baseline, c of the control and a of the arm, the share is r = (b - c) / (b - a). It is a ratio of
two noisy differences that have the baseline in common. Fieller's interval holds every r for which the contrast
(1 - r) b + r a - c is not told from 0: its square and that of its half-width are quadratic in r, so the ends are the
roots of one polynomial. The half-width is that of every comparison here (`paired.Spread`): documents, and seeds.

Fieller, E. C.: Some problems in interval estimation. Journal of the Royal Statistical Society B 16, 175-185, 1954.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from megadocs.analysis.paired import PairedLosses, Spread
from megadocs.analysis.seed_noise import SeedNoise
from megadocs.analysis.tables import FloatArray


@dataclass(frozen=True, slots=True)
class GainShare:
    """The control's gain as a share of the arm's; past 1 where the control is the better one."""

    value: float
    #: None where noise is not measured, or the arm's gain is not told from 0 and any share would fit.
    interval: tuple[float, float] | None


def gain_share(
    table: PairedLosses, arm: str, control: str | None, baseline: str, confidence: float
) -> GainShare | None:
    """The share; None where an arm is missing, the arm has gained nothing, or a loss is not a number."""
    if control is None or not table.arm_runs(baseline):
        return None
    base = table.arm_loss(baseline)
    gain, without_meaning = base - table.arm_loss(arm), base - table.arm_loss(control)
    if not gain > 0 or not math.isfinite(without_meaning):
        return None
    # Three shares determine a parabola: the square of the half-width at 0, 1 and 2.
    squares = [_half_width(table, {baseline: 1 - r, arm: r, control: -1.0}, confidence) ** 2 for r in (0.0, 1.0, 2.0)]
    curvature = (squares[0] - 2 * squares[1] + squares[2]) / 2
    slope = squares[1] - squares[0] - curvature
    # (without_meaning - r gain)^2 <= squares[0] + slope r + curvature r^2
    a, b, c = gain**2 - curvature, -2 * gain * without_meaning - slope, without_meaning**2 - squares[0]
    if not a > 0:  # NaN, too: nothing is known of documents or seeds
        return GainShare(without_meaning / gain, None)
    root = math.sqrt(max(b * b - 4 * a * c, 0.0))
    return GainShare(without_meaning / gain, ((-b - root) / (2 * a), (-b + root) / (2 * a)))


def _half_width(table: PairedLosses, coefficients: dict[str, float], confidence: float) -> float:
    """Half of the interval of a weighted sum of arms' losses; NaN where documents or seeds are not measured."""
    weights: FloatArray = np.zeros(len(table.runs))
    variances: dict[int, tuple[SeedNoise, float]] = {}  # by whose noise is taken: one estimate, one Student's t
    for arm, coefficient in coefficients.items():
        weights += coefficient * table.arm_weights(arm)
        noise = table.seeds.of_arm(arm)
        if noise.variance is None or not table.documents.is_known:
            return math.nan
        before = variances.get(id(noise), (noise, 0.0))[1]
        variances[id(noise)] = noise, before + coefficient**2 * noise.variance / len(table.arm_runs(arm))
    seeds = [(variance, max(noise.degrees, 1.0)) for noise, variance in variances.values()]
    spread = Spread(((table.documents.variance(weights), table.documents.degrees), *seeds))
    return spread.half_width(1 - confidence)
