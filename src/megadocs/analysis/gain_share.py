"""How much of an arm's gain over the baseline a control without meaning has, too, with Fieller's interval.

    share = gain_share(table, "simple", "shuffled_words", baseline="real_only", confidence=0.95)
    share.value, share.interval     # 0.61, (0.52, 0.70)

With losses b of the baseline, c of the control and a of the arm, over the seeds that all three have, the share is
r = (b - c) / (b - a). It is a ratio of two noisy differences that have the baseline in common. Fieller's interval holds
every r for which the contrast (1 - r) b + r a - c is not told from 0, by the document and seed noise of a contrast
(`paired`, `seed_noise`): its ends are where the contrast equals its half-width. It has ends where the gain b - a itself
is told from 0, and none where it is not.

Fieller, E. C.: Some problems in interval estimation. Journal of the Royal Statistical Society B 16, 175-185, 1954.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from megadocs.analysis.paired import PairedLosses, spread_of

#: An end so far from the share is none: the gain is told from 0 by less than rounding.
_FURTHEST = 1e6
_HALVINGS = 50
_FIRST_STEP = 0.01


@dataclass(frozen=True, slots=True)
class GainShare:
    """The control's gain as a share of the arm's; past 1 where the control is the better one."""

    value: float
    #: None where noise is not measured; both ends infinite where the arm's gain is not told from 0.
    interval: tuple[float, float] | None


def gain_share(
    table: PairedLosses, arm: str, control: str | None, baseline: str, confidence: float
) -> GainShare | None:
    """The share; None where the three have no common seed, the arm has gained nothing, or a loss is not a number."""
    if control is None or control == baseline:
        return None
    rows = {name: table.arm_runs(name) for name in (baseline, arm, control)}
    seeds = sorted(set.intersection(*(set(runs) for runs in rows.values())))
    if not seeds:
        return None
    losses = {name: table.losses[[runs[seed] for seed in seeds]] for name, runs in rows.items()}
    gain = float((losses[baseline] - losses[arm]).mean())
    without_meaning = float((losses[baseline] - losses[control]).mean())
    if not gain > 0 or not math.isfinite(without_meaning):
        return None

    def excess(share: float) -> float:
        """By how much the contrast is further from 0 than its half-width; NaN where noise is not measured."""
        contrast = {baseline: 1 - share, arm: share, control: -1.0}
        weights = np.zeros(len(table.runs))
        for name, weight in contrast.items():
            weights[[rows[name][seed] for seed in seeds]] += weight / len(seeds)
        per_seed = sum((weight * losses[name] for name, weight in contrast.items()), np.zeros(len(seeds)))
        noise = table.seeds.of_contrast(contrast, per_seed)
        if noise.variance is None or not table.documents.is_known:
            return math.nan
        documents = (table.documents.variance(weights), table.documents.degrees)
        spread = spread_of(documents, (noise.variance, noise.degrees))
        return abs(without_meaning - share * gain) - spread.half_width(1 - confidence)

    value = without_meaning / gain
    if math.isnan(excess(value)):
        return GainShare(value, None)
    ends = [_end(excess, value, side) for side in (-1.0, 1.0)]
    return GainShare(value, (ends[0], ends[1]) if all(map(math.isfinite, ends)) else (-math.inf, math.inf))


def _end(excess: Callable[[float], float], value: float, side: float) -> float:
    """The end on one side of the value: where `excess` rises above 0."""
    inner, outer = 0.0, _FIRST_STEP
    while excess(value + side * outer) <= 0:
        inner, outer = outer, 2 * outer
        if outer > _FURTHEST:
            return side * math.inf
    for _ in range(_HALVINGS):
        middle = 0.5 * (inner + outer)
        inner, outer = (middle, outer) if excess(value + side * middle) <= 0 else (inner, middle)
    return value + side * outer
