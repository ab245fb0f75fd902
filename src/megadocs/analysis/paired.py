"""Paired differences between arms: interval, p-value, Holm over the comparisons, and the verdict.

Two things make a measured difference differ from the one a new experiment would show: other documents and other seeds.
Both enter the interval:

* documents: the variance of the difference over the bootstrap draws, the same documents for both arms;
* seeds: with three or more common seeds, the variance of the per-seed differences, divided by their number (paired t);
  with two, one difference pair says almost nothing about its own noise, so the residual variance of
  `loss = arm + seed + noise` over all arms is used, which assumes that arms are equally noisy; with one, seed noise is
  not measured, the interval covers documents only, and the verdict can never be "separated".

The two variances add; the t quantile has Welch-Satterthwaite degrees of freedom. The interaction of seed and document
is in both terms, which errs on the wide side. See docs/statistics.md.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy import stats

from megadocs.analysis.resample import percentile_interval
from megadocs.analysis.tables import FloatArray

Verdict = Literal["separated", "not separated"]


@dataclass(frozen=True, slots=True)
class SeedNoise:
    """Noise between runs that differ in seed only, pooled over arms.

    Attributes:
        variance: residual variance in nats squared of `loss = arm + seed + noise`; `None` where it cannot be estimated.
        degrees: its degrees of freedom.
    """

    variance: float | None
    degrees: int


@dataclass(frozen=True, slots=True)
class Difference:
    """Loss of `arm` minus loss of `reference`; below 0 is better.

    Attributes:
        arm: the arm.
        reference: what it is compared with.
        seeds: the common seeds.
        seed_differences: one difference in nats per common seed.
        difference: their mean, NaN where a run's loss is NaN.
        interval: at the analysis' confidence, not corrected for the number of comparisons.
        document_sd: standard deviation over document draws.
        seed_se: standard error over seeds; `None` where it is not measured.
        seed_method: how `seed_se` was found.
        degrees: degrees of freedom of the t quantile; `None` where the interval is a percentile interval.
        p_value: two-sided; `None` where seed noise is not measured or the difference is NaN.
        p_holm: after Holm over the family of comparisons.
        verdict: "separated" where `p_holm` is below 1 - confidence.
        reason: why it is "not separated" where that is not the p-value's doing.
    """

    arm: str
    reference: str
    seeds: tuple[int, ...]
    seed_differences: tuple[float, ...]
    difference: float
    interval: tuple[float, float]
    document_sd: float
    seed_se: float | None
    seed_method: Literal["own", "pooled", "not measured"]
    degrees: float | None
    p_value: float | None
    p_holm: float | None = None
    verdict: Verdict = "not separated"
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class PairedLosses:
    """Losses of R runs and of the same runs under B document draws.

    Attributes:
        runs: R pairs (arm, seed).
        losses: float64 (R,).
        draws: float64 (B, R).
        num_units: resampled documents (or sources), for the degrees of freedom.
    """

    runs: tuple[tuple[str, int], ...]
    losses: FloatArray
    draws: FloatArray
    num_units: int

    def arm_runs(self, arm: str) -> dict[int, int]:
        """Seed -> run index of one arm."""
        return {seed: index for index, (name, seed) in enumerate(self.runs) if name == arm}


def pooled_seed_noise(runs: Sequence[tuple[str, int]], losses: FloatArray) -> SeedNoise:
    """Residual variance of `loss = arm + seed + noise` by least squares over the finite runs."""
    usable = [index for index in range(len(runs)) if math.isfinite(losses[index])]
    arms = sorted({runs[index][0] for index in usable})
    seeds = sorted({runs[index][1] for index in usable})
    design = np.zeros((len(usable), len(arms) + len(seeds)))
    for row, index in enumerate(usable):
        design[row, arms.index(runs[index][0])] = 1.0
        design[row, len(arms) + seeds.index(runs[index][1])] = 1.0
    if not usable:
        return SeedNoise(None, 0)
    solution, _, rank, _ = np.linalg.lstsq(design, losses[usable], rcond=None)
    degrees = len(usable) - int(rank)
    if degrees < 1:
        return SeedNoise(None, 0)
    residual = losses[usable] - design @ solution
    return SeedNoise(float(residual @ residual) / degrees, degrees)


def paired_difference(
    table: PairedLosses, arm: str, reference: str, noise: SeedNoise, confidence: float
) -> Difference | None:
    """The difference of two arms over their common seeds; `None` where they have none. Holm comes later."""
    first, second = table.arm_runs(arm), table.arm_runs(reference)
    seeds = tuple(sorted(set(first) & set(second)))
    if not seeds:
        return None
    left, right = [first[seed] for seed in seeds], [second[seed] for seed in seeds]
    per_seed = table.losses[left] - table.losses[right]
    draws = (table.draws[:, left] - table.draws[:, right]).mean(axis=1)
    few_units = math.sqrt(table.num_units / max(table.num_units - 1, 1))  # a bootstrap of U units is too narrow by this
    mean, document_sd = float(per_seed.mean()), float(np.std(draws, ddof=1)) * few_units
    common = (arm, reference, seeds, tuple(float(value) for value in per_seed), mean)
    if not math.isfinite(mean):
        return Difference(
            *common, (math.nan, math.nan), math.nan, None, "not measured", None, None, reason="a run's loss is NaN"
        )
    method, seed_variance, seed_degrees = _seed_variance(per_seed, noise)
    if seed_variance is None:
        reason = "seed noise is not measured: one seed"
        return Difference(
            *common,
            percentile_interval(draws, confidence),
            document_sd,
            None,
            "not measured",
            None,
            None,
            reason=reason,
        )
    total = document_sd**2 + seed_variance
    error = math.sqrt(total)
    degrees = _satterthwaite((document_sd**2, table.num_units - 1), (seed_variance, seed_degrees))
    half = float(stats.t.ppf(0.5 + confidence / 2, degrees)) * error
    p_value = float(2 * stats.t.sf(abs(mean) / error, degrees)) if error > 0 else float(mean == 0)
    return Difference(
        *common, (mean - half, mean + half), document_sd, math.sqrt(seed_variance), method, degrees, p_value
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


def _seed_variance(
    per_seed: FloatArray, noise: SeedNoise
) -> tuple[Literal["own", "pooled", "not measured"], float | None, int]:
    """Method, variance of the mean difference over seeds, degrees of freedom."""
    num = len(per_seed)
    if num >= 3:
        return "own", float(np.var(per_seed, ddof=1)) / num, num - 1
    if num == 2 and noise.variance is not None:
        return "pooled", 2.0 * noise.variance / num, noise.degrees
    return "not measured", None, 0


def _satterthwaite(*terms: tuple[float, int]) -> float:
    """Degrees of freedom of a sum of variances, each given with its own degrees of freedom."""
    total = sum(variance for variance, _ in terms)
    if total <= 0:
        return float(max(1, min(degrees for _, degrees in terms)))
    return total**2 / sum(variance**2 / max(degrees, 1) for variance, degrees in terms)
