"""Paired differences between arms: interval, p-value, Holm over the comparisons, and the verdict.

Two things make a measured difference differ from the one a new experiment would show: other documents and other seeds.
Both enter the interval:

* documents: the jackknife variance of the difference over sources (`document_noise`), the same source left out of both;
* seeds: the variance of the mean difference over the common seeds (`seed_noise`), pooled over arms where they are
  equally noisy. Where seed noise is not measured, the interval covers documents only, and the verdict can never be
  "separated".

Each term has a half-width of its own, by its own Student's t, and their squares add up. Welch-Satterthwaite degrees of
freedom for the sum were too narrow at few sources: a document variance with one or two degrees is often far too small
by chance, and the formula then takes the many degrees of the pooled seed noise. Over 3 sources 92.6 % of intervals of
95 % held the truth; and of 8, some arm was separated from an equal baseline in 7.0 % of experiments. The interaction of
seed and document is in both terms, which errs on the wide side.

"Not separated" says that the data do not tell which arm is better. That two arms are *equal* within a margin is another
claim, made only where two one-sided t tests both reject a difference of the margin. See docs/statistics.md.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy import special

from megadocs.analysis.document_noise import DocumentNoise
from megadocs.analysis.seed_noise import ExperimentNoise, SeedMethod
from megadocs.analysis.tables import FloatArray

Verdict = Literal["separated", "not separated"]

#: Smaller p-values are 0: quantiles that far out are no numbers.
_SMALLEST_P = 1e-150
#: Of the range of log p, until p is known to some ten digits.
_HALVINGS = 42
_ONE_SEED = "seed noise is not measured: one seed"
_ONE_UNIT = "one source: nothing is known of other documents"


@dataclass(frozen=True, slots=True)
class Difference:
    """Loss of `arm` minus loss of `reference`; below 0 is better."""

    arm: str
    reference: str
    seeds: tuple[int, ...]  # the common seeds
    seed_differences: tuple[float, ...]  # one difference in nats per common seed
    difference: float  # their mean, NaN where a run's loss is NaN
    #: at the analysis' confidence, not corrected for the number of comparisons; NaN where none can be given.
    interval: tuple[float, float]
    document_sd: float  # standard error over documents
    seed_se: float | None  # standard error over seeds; `None` where it is not measured
    seed_method: SeedMethod  # how `seed_se` was found
    #: two-sided, of no difference; `None` where seed noise is not measured or the difference is NaN.
    p_value: float | None
    #: of a difference of at least the margin, the larger of two one-sided tests; `None` likewise.
    p_equivalent: float | None = None
    p_holm: float | None = None  # `p_value` after Holm over the family of comparisons
    verdict: Verdict = "not separated"  # "separated" where `p_holm` is below 1 - confidence
    is_equivalent: bool = False  # whether `p_equivalent`, after Holm over the family, is below 1 - confidence
    reason: str | None = None  # why it is "not separated" where that is not the p-value's doing


@dataclass(frozen=True, slots=True)
class PairedLosses:
    """Losses of R runs on the same documents, and what makes them uncertain."""

    runs: tuple[tuple[str, int], ...]  # R pairs (arm, seed)
    losses: FloatArray  # float64 (R,)
    documents: DocumentNoise
    seeds: ExperimentNoise

    def arm_runs(self, arm: str) -> dict[int, int]:
        """Seed -> run index of one arm."""
        return {seed: index for index, (name, seed) in enumerate(self.runs) if name == arm}

    def arm_loss(self, arm: str) -> float:
        """Mean loss of an arm over its seeds; NaN where one of them is."""
        return float(np.mean([self.losses[row] for row in self.arm_runs(arm).values()]))

    def arm_weights(self, arm: str) -> FloatArray:
        """Weights (R,) whose product with the losses is the arm's mean over its seeds."""
        rows = list(self.arm_runs(arm).values())
        weights = np.zeros(len(self.runs))
        weights[rows] = 1.0 / len(rows)
        return weights


@dataclass(frozen=True, slots=True)
class Spread:
    """What makes a mean uncertain: independent variances, each with its degrees of freedom; none: not known."""

    terms: tuple[tuple[float, float], ...]

    def half_width(self, p_value: float) -> float:
        """Half of the interval at the confidence 1 - `p_value`: squares of the terms' own half-widths add up."""
        return math.hypot(*(special.stdtrit(degrees, p_value / 2) * math.sqrt(term) for term, degrees in self.terms))

    def interval(self, mean: float, confidence: float) -> tuple[float, float]:
        """Around the mean; NaN where nothing is known."""
        if not self.terms or not math.isfinite(mean):
            return math.nan, math.nan
        half = self.half_width(1 - confidence)
        return mean - half, mean + half

    def p_value(self, mean: float) -> float | None:
        """Two-sided, of a true mean of 0: where the interval just reaches it."""
        if not self.terms:
            return None
        if all(term == 0 for term, _ in self.terms):
            return float(mean == 0)
        if self.half_width(_SMALLEST_P) <= abs(mean):
            return 0.0
        low, high = math.log(_SMALLEST_P), 0.0
        for _ in range(_HALVINGS):
            middle = 0.5 * (low + high)
            low, high = (middle, high) if self.half_width(math.exp(middle)) > abs(mean) else (low, middle)
        return math.exp(high)

    def p_equivalent(self, mean: float, margin: float) -> float | None:
        """Of a true mean at least `margin` from 0: the larger of two one-sided p-values."""
        room = margin - abs(mean)
        p_value = self.p_value(room)
        if p_value is None:
            return None
        return p_value / 2 if room > 0 else 1 - p_value / 2


def spread_of(documents: tuple[float, float], seeds: tuple[float | None, float] = (None, 0.0)) -> Spread:
    """Two variances, each with its degrees of freedom; documents alone where seed noise is not measured."""
    if documents[1] <= 0:
        return Spread(())
    return Spread((documents,) if seeds[0] is None else (documents, (seeds[0], max(seeds[1], 1.0))))


def loss_interval(table: PairedLosses, arm: str, confidence: float) -> tuple[float, float]:
    """Interval of an arm's mean loss, over new documents and, where seeds are measured, new seeds."""
    if not table.documents.is_known:
        return math.nan, math.nan
    documents = (table.documents.variance(table.arm_weights(arm)), table.documents.degrees)
    spread = Spread((documents, *table.seeds.of_loss(len(table.arm_runs(arm)))))
    return spread.interval(table.arm_loss(arm), confidence)


def paired_difference(
    table: PairedLosses, arm: str, reference: str, confidence: float, margin: float = 0.02
) -> Difference | None:
    """The difference of two arms over their common seeds; `None` where they have none. Holm comes later.

    Args:
        margin: nats within which two arms count as equal.
    """
    first, second = table.arm_runs(arm), table.arm_runs(reference)
    seeds = tuple(sorted(set(first) & set(second)))
    if not seeds:
        return None
    left, right = [first[seed] for seed in seeds], [second[seed] for seed in seeds]
    per_seed = table.losses[left] - table.losses[right]
    mean = float(per_seed.mean())
    common = (arm, reference, seeds, tuple(float(value) for value in per_seed), mean)
    if not math.isfinite(mean):
        nowhere = (math.nan, math.nan)
        return Difference(*common, nowhere, math.nan, None, "not measured", None, reason="a run's loss is NaN")
    weights = np.zeros(len(table.runs))
    weights[left] += 1.0 / len(seeds)
    weights[right] -= 1.0 / len(seeds)
    variance = table.documents.variance(weights)
    noise = table.seeds.of_difference(arm, reference, per_seed)
    spread = spread_of((variance, table.documents.degrees), (noise.variance, noise.degrees))
    is_measured = noise.variance is not None and table.documents.is_known
    return Difference(
        *common,
        spread.interval(mean, confidence),
        math.sqrt(variance) if table.documents.is_known else math.nan,
        None if noise.variance is None else math.sqrt(noise.variance),
        noise.method,
        spread.p_value(mean) if is_measured else None,
        spread.p_equivalent(mean, margin) if is_measured else None,
        reason=None if is_measured else _ONE_SEED if noise.variance is None else _ONE_UNIT,
    )


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """Holm's step-down adjustment; `None` entries take no part."""
    present = sorted((value, index) for index, value in enumerate(p_values) if value is not None)
    adjusted: list[float | None] = [None] * len(p_values)
    running = 0.0
    for rank, (value, index) in enumerate(present):
        running = max(running, min(1.0, (len(present) - rank) * value))
        adjusted[index] = running
    return adjusted
