"""Noise between runs that differ in seed only, pooled over arms as far as the arms allow.

    noise = seed_noise(runs, losses, classes)
    variance, degrees, method = noise.of_difference("simple", "real_only", per_seed)

Three seeds give a pair of arms two degrees of freedom, and Student's t with two asks for 4.3 standard errors; six arms
pooled have ten, and it asks for 2.2. So the residual variance of `loss = arm + seed + noise` is taken over all arms. A
test of equal variances (Bartlett's statistic, its distribution under equal normal noise simulated for the very design)
decides whether it may be: where it forbids it, over the arms of a class (trained on real text alone, or not), and where
it forbids that, two arms are compared by the differences at their own common seeds, and an arm of one run by nothing.

Shapes: N runs.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy import special

from megadocs.analysis.document_noise import uniforms
from megadocs.analysis.tables import FloatArray
from megadocs.seeding import derive_seed

SeedMethod = Literal["pooled", "class", "own", "not measured"]
Run = tuple[str, int]

#: Pooling is forbidden where equal variances would look as unequal as these less often than this.
_LEVEL = 0.05
_NUM_SIMULATED = 2000


@dataclass(frozen=True, slots=True)
class SeedNoise:
    """Variance between runs of one arm, seed effects that all arms share taken out."""

    variance: float | None  # in nats squared; `None` where it cannot be estimated
    degrees: int  # its degrees of freedom


@dataclass(frozen=True, slots=True)
class SeedVariance:
    """Variance of a mean over seeds, or of a difference of two, with how it was found."""

    variance: float | None
    degrees: float
    method: SeedMethod


@dataclass(frozen=True, slots=True)
class ExperimentNoise:
    """What seeds do to the losses of an experiment."""

    pooled: SeedNoise  # over all arms
    classes: Mapping[str, SeedNoise]  # class -> pooled over its arms
    own: Mapping[str, SeedNoise]  # arm -> variance of its own runs, effects that all arms share included
    class_of: Mapping[str, str]  # arm -> its class
    #: arm -> whose noise is taken for it; "not measured" for an arm of one run that may not borrow.
    methods: Mapping[str, SeedMethod]
    p_equal: float | None  # of the test that all arms are equally noisy; `None` where it cannot be made
    #: variances of a run about its arm's mean with their degrees of freedom: what seeds do to all arms alike, and what
    #: they do to one. Empty where they are not measured.
    level: tuple[tuple[float, float], ...]

    def of_difference(self, arm: str, reference: str, per_seed: FloatArray) -> SeedVariance:
        """Variance of the mean difference of two arms over their common seeds; `per_seed` holds one a seed."""
        return self.of_contrast({arm: 1.0, reference: -1.0}, per_seed)

    def of_contrast(self, weights: Mapping[str, float], per_seed: FloatArray) -> SeedVariance:
        """Variance of a weighted sum of arms, as a mean over common seeds, in which what shifts all arms alike cancels.

        Args:
            weights: arm -> weight; they sum to 0.
            per_seed: the weighted sum for each common seed.
        """
        num, methods = len(per_seed), {self.methods[arm] for arm in weights}
        if methods & {"own", "not measured"}:  # what the seeds do to all arms alike is in no difference
            if num < 2:
                return SeedVariance(None, 0, "not measured")
            return SeedVariance(float(np.var(per_seed, ddof=1)) / num, num - 1, "own")
        sums: dict[int, tuple[float, int]] = {}  # by estimate, which arms share: its part of the variance, its degrees
        for arm, weight in weights.items():
            noise = self.of_arm(arm)
            if noise.variance is None:
                return SeedVariance(None, 0, "not measured")
            before = sums.get(id(noise), (0.0, 0))[0]
            sums[id(noise)] = before + weight**2 * noise.variance / num, noise.degrees
        total = sum(variance for variance, _ in sums.values())
        if len(sums) == 1:
            return SeedVariance(total, next(iter(sums.values()))[1], self.methods[next(iter(weights))])
        return SeedVariance(total, satterthwaite(*sums.values()), "class")

    def of_loss(self, num_seeds: int) -> list[tuple[float, float]]:
        """Variances of an arm's mean loss over its seeds with their degrees of freedom; empty: not measured."""
        return [(variance / num_seeds, degrees) for variance, degrees in self.level]

    def of_arm(self, arm: str) -> SeedNoise:
        """The noise that is taken for a run of this arm; of an arm that is compared by its own seeds, all of it.

        Nothing where the arm has one run and may not borrow the others' noise.
        """
        method = self.methods[arm]
        if method in ("own", "not measured"):
            return self.own[arm]
        return self.classes[self.class_of[arm]] if method == "class" else self.pooled


def seed_noise(
    runs: Sequence[Run], losses: FloatArray, classes: Mapping[str, str], *, pool: bool = True
) -> ExperimentNoise:
    """The noise of an experiment.

    Args:
        runs: N pairs (arm, seed).
        losses: float64 (N,); runs whose loss is not finite take no part.
        classes: arm -> class.
        pool: False compares every two arms by their own common seeds; an arm with one run has no noise then.
    """
    usable = [index for index in range(len(runs)) if math.isfinite(losses[index])]
    kept, values = [runs[index] for index in usable], losses[usable]
    pooled = pooled_seed_noise(kept, values)
    p_equal = equal_noise_p(kept, values)
    class_of = {arm: classes.get(arm, "") for arm, _ in runs}
    own = {
        arm: _own_noise([loss for loss, (name, _) in zip(values, kept, strict=True) if name == arm]) for arm in class_of
    }
    by_class: dict[str, SeedNoise] = {}
    methods: dict[str, SeedMethod] = {}
    for name in sorted(set(class_of.values())):
        mine = [index for index, (arm, _) in enumerate(kept) if class_of[arm] == name]
        members = [kept[index] for index in mine]
        by_class[name] = pooled_seed_noise(members, values[mine])
        within = equal_noise_p(members, values[mine])
        method: SeedMethod = "pooled"
        if not pool:
            method = "own"
        elif p_equal is not None and p_equal < _LEVEL:
            forbidden = by_class[name].variance is None or (within is not None and within < _LEVEL)
            method = "own" if forbidden else "class"
        for arm in (arm for arm in class_of if class_of[arm] == name):
            methods[arm] = "not measured" if method == "own" and own[arm].variance is None else method
    return ExperimentNoise(pooled, by_class, own, class_of, methods, p_equal, _level(kept, values, pooled))


def pooled_seed_noise(runs: Sequence[Run], losses: FloatArray) -> SeedNoise:
    """Residual variance of `loss = arm + seed + noise` by least squares over finite losses."""
    if not runs:
        return SeedNoise(None, 0)
    residual, degrees = _residuals(_design(runs), losses)
    return SeedNoise(float(residual @ residual) / degrees, degrees) if degrees > 0 else SeedNoise(None, 0)


def equal_noise_p(runs: Sequence[Run], losses: FloatArray) -> float | None:
    """How often equally noisy arms would look as unequally noisy as these; `None` where nothing could show it.

    Arms with one run show nothing of their noise and are left out. Two arms with the same seeds have residuals of equal
    size whatever their noise, so it takes three.
    """
    runs_of = Counter(arm for arm, _ in runs)
    several = [index for index, (arm, _) in enumerate(runs) if runs_of[arm] > 1]
    runs, losses = [runs[index] for index in several], losses[several]
    arms = sorted({arm for arm, _ in runs})
    counts = np.asarray([runs_of[arm] for arm in arms])
    if len(arms) < 3:
        return None
    design = _design(runs)
    membership = np.asarray([[arm == name for name, _ in runs] for arm in arms], dtype=np.float64)
    seed = derive_seed(0, "equal noise", len(runs), len(arms))
    normal = special.ndtri(uniforms(seed, _NUM_SIMULATED * len(runs))).reshape(_NUM_SIMULATED, len(runs))
    residuals = normal - normal @ _projection(design)
    found = _bartlett((_residuals(design, losses)[0] ** 2) @ membership.T, counts)
    if not math.isfinite(float(found)):
        return None
    simulated = _bartlett(np.square(residuals) @ membership.T, counts)
    return float((np.sum(simulated >= found) + 1) / (_NUM_SIMULATED + 1))


def _own_noise(losses: Sequence[float]) -> SeedNoise:
    return SeedNoise(float(np.var(losses, ddof=1)), len(losses) - 1) if len(losses) > 1 else SeedNoise(None, 0)


def satterthwaite(*terms: tuple[float, float]) -> float:
    """Degrees of freedom of a sum of variances, each given with its own degrees of freedom."""
    total = sum(variance for variance, _ in terms)
    if total <= 0:
        return float(max(1.0, min(degrees for _, degrees in terms)))
    return total**2 / sum(variance**2 / max(degrees, 1) for variance, degrees in terms)


def _bartlett(sums: FloatArray, counts: FloatArray) -> FloatArray:
    """Bartlett's statistic of sums of squares by arm, (..., arms), without the constants that its simulation shares."""
    degrees = counts - 1.0
    floor = 1e-12 * sums.sum(axis=-1, keepdims=True)
    means = np.maximum(sums, floor) / degrees
    pooled = sums.sum(axis=-1) / degrees.sum()
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(degrees.sum() * np.log(pooled) - np.log(means) @ degrees, dtype=np.float64)


def _level(runs: Sequence[Run], losses: FloatArray, residual: SeedNoise) -> tuple[tuple[float, float], ...]:
    """Variance of a run about its arm's mean: what the seeds do to all arms alike, and what they do to one."""
    arms = [arm for arm, _ in runs]
    means = {arm: np.mean([loss for loss, name in zip(losses, arms, strict=True) if name == arm]) for arm in set(arms)}
    centred = np.asarray([loss - means[arm] for loss, arm in zip(losses, arms, strict=True)])
    degrees = len(runs) - len(means)
    if degrees < 1:
        return ()
    own = (residual.variance or 0.0) * residual.degrees / degrees
    shared = max(float(centred @ centred) / degrees - own, 0.0)
    return (shared, max(degrees - residual.degrees, 1)), (own, max(residual.degrees, 1))


def _design(runs: Sequence[Run]) -> FloatArray:
    """Columns of arms and of seeds, float64 (N, arms + seeds)."""
    arms, seeds = sorted({arm for arm, _ in runs}), sorted({seed for _, seed in runs})
    design = np.zeros((len(runs), len(arms) + len(seeds)))
    for row, (arm, seed) in enumerate(runs):
        design[row, arms.index(arm)] = design[row, len(arms) + seeds.index(seed)] = 1.0
    return design


def _projection(design: FloatArray) -> FloatArray:
    """Onto the columns of the design, float64 (N, N)."""
    return np.asarray(design @ np.linalg.pinv(design), dtype=np.float64)


def _residuals(design: FloatArray, losses: FloatArray) -> tuple[FloatArray, int]:
    """Residuals of least squares, and their degrees of freedom."""
    solution, _, rank, _ = np.linalg.lstsq(design, losses, rcond=None)
    return losses - design @ solution, len(losses) - int(rank)
