"""How many seeds it takes, and whether equal arms look equal: power and the A/A check.

`seeds_needed` answers "how many seeds per arm would separate a difference of d nats" from measured noise.
`same_arm_check` splits the runs of one arm into two halves in every way and compares them as if they were two arms: the
share of "separated" should be about 1 - confidence, and the spread of those differences is the noise floor.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import combinations, islice

import numpy as np
from scipy import special

from megadocs.analysis.tables import FloatArray
from megadocs.errors import AnalysisError

_MAX_SEEDS = 1000
_MAX_SPLITS = 2000


@dataclass(frozen=True, slots=True)
class SameArmCheck:
    """Differences between halves of one arm's runs."""

    num_runs: int
    seed_sd: float  # standard deviation between runs in nats
    seed_sd_interval: tuple[float, float]  # its chi-squared interval
    num_splits: int  # ways to halve the runs that were tried
    largest_difference: float  # the largest absolute difference between halves
    #: share of splits that a t test at the confidence calls different; `None` below four runs.
    share_separated: float | None


def power_of(difference: float, num_seeds: int, seed_sd: float, document_sd: float, confidence: float) -> float:
    """Probability that `num_seeds` paired seeds separate a true difference.

    Args:
        difference: true difference in nats.
        num_seeds: common seeds of the two arms, at least 2.
        seed_sd: standard deviation between runs of one arm (seed effects that pairing removes left out).
        document_sd: standard deviation of the difference over documents; more seeds do not lower it.
        confidence: 1 - the level of the two-sided test.
    """
    from scipy import stats  # a second of processor time: only here is more than scipy.special wanted

    degrees = num_seeds - 1
    error = math.sqrt(2 * seed_sd**2 / num_seeds + document_sd**2)
    if error == 0:
        return float(difference != 0)
    critical = float(special.stdtrit(degrees, 0.5 + confidence / 2))
    shift = abs(difference) / error
    return float(stats.nct.sf(critical, degrees, shift) + stats.nct.cdf(-critical, degrees, shift))


def seeds_needed(
    difference: float, seed_sd: float, document_sd: float = 0.0, *, confidence: float = 0.95, power: float = 0.8
) -> int | None:
    """Fewest seeds per arm that separate a true difference with the given probability; `None` where no number does.

    Raises:
        AnalysisError: a difference of 0 can never be separated.
    """
    if difference == 0:
        raise AnalysisError(
            "no number of seeds separates a difference of 0", remedy="name the smallest difference of use"
        )
    for num_seeds in range(2, _MAX_SEEDS):
        if power_of(difference, num_seeds, seed_sd, document_sd, confidence) >= power:
            return num_seeds
        if document_sd > 0 and num_seeds > 50 and seed_sd**2 / num_seeds < 1e-3 * document_sd**2:
            return None
    return None


def same_arm_check(losses: FloatArray, confidence: float) -> SameArmCheck:
    """The A/A check of one arm.

    Args:
        losses: one loss per run, at least two.

    Raises:
        AnalysisError: fewer than two finite runs.
    """
    values = np.asarray(losses, dtype=np.float64)
    values = values[np.isfinite(values)]
    if len(values) < 2:
        raise AnalysisError("the A/A check needs two finished runs of one arm", remedy="add a seed")
    degrees, variance = len(values) - 1, float(np.var(values, ddof=1))
    tail = (1 - confidence) / 2
    quantiles = (2 * float(special.gammaincinv(degrees / 2, q)) for q in (1 - tail, tail))  # of chi-squared
    bounds = tuple(math.sqrt(degrees * variance / quantile) for quantile in quantiles)
    half = len(values) // 2
    splits = list(islice(combinations(range(len(values)), half), _MAX_SPLITS))
    first = values[np.asarray(splits)]
    second = np.stack([np.delete(values, split) for split in splits])
    largest = float(np.abs(first.mean(axis=1) - second.mean(axis=1)).max())
    share = None
    if half >= 2:
        from scipy import stats

        share = float((stats.ttest_ind(first, second, axis=1).pvalue < 1 - confidence).mean())
    return SameArmCheck(len(values), math.sqrt(variance), (bounds[0], bounds[1]), len(splits), largest, share)
