"""The walk: from a grid and the losses so far to the next trials. A pure function; the caller keeps no state.

    while trials := next_trials(grid, start, seeds, losses):
        losses |= {trial: train_and_score(trial) for trial in trials}
    certificate = certify(grid, seeds, losses)

The centre is the best setting known. Its untried neighbours are tried, the most promising first and a few at a time; a
better one becomes the centre. When none is left, the centre and the neighbours that are not yet separated from it are
repeated with more seeds, until each neighbour is worse beyond the noise or the seeds are used up. A new best setting
is itself repeated before it replaces one that was, so that a lucky run does not lead astray.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from megadocs.search.grid import Grid, Point
from megadocs.search.noise import (
    Losses,
    Noise,
    Trial,
    adjusted_means,
    compare,
    estimate_noise,
    losses_by_point,
)

#: Pull of the quadratic's coefficients towards 0, in squared grid steps: it has more coefficients than early results.
_RIDGE = 0.1


def next_trials(
    grid: Grid,
    start: Point,
    seeds: Sequence[int],
    losses: Losses,
    *,
    confidence: float = 0.95,
    round_size: int | None = 2,
) -> list[Trial]:
    """What to run next, all at once; empty when nothing more is to be learnt.

    Args:
        seeds: the first one walks, the others repeat the certificate's settings.
        losses: every trial that has ended; failed ones hold None.
        confidence: level of "worse".
        round_size: at most so many trials; None: all of this stage, the next ones first. What stands past a round is
            what the walk asks for if the round changes nothing, so free slots take it.
    """
    table = losses_by_point(losses)
    if not table:
        return _first_trials(grid, start, seeds[0], losses)[:round_size]
    noise = estimate_noise(table)
    means = adjusted_means(table, noise)
    centre = best_point(means)
    contest = _contest(centre, table, means, noise, seeds, losses, confidence)
    if contest:
        return contest[:round_size]
    untried = [point for point in grid.neighbours(centre) if Trial(point, seeds[0]) not in losses]
    if untried:
        promise = _predicted(untried, centre, means)
        ordered = sorted(untried, key=lambda point: (_rounded(promise[point]), point))
        return [Trial(point, seeds[0]) for point in ordered[:round_size]]
    return _repeats(grid, centre, table, seeds, losses, confidence)[:round_size]


def best_point(means: Mapping[Point, float]) -> Point:
    """The setting with the lowest mean; the first of equals."""
    return min(means, key=lambda point: (_rounded(means[point]), point))


def _rounded(loss: float) -> float:
    """A loss as walks compare it. Solvers differ in the last digits from processor to processor (AVX2 and AVX-512 put
    two equally promising neighbours in opposite orders); a walk must not."""
    return round(loss, 9)


def _first_trials(grid: Grid, start: Point, seed: int, losses: Losses) -> list[Trial]:
    """The start; when it failed, its neighbours, then theirs."""
    frontier, seen = [start], {start}
    while frontier:
        untried = [Trial(point, seed) for point in frontier if Trial(point, seed) not in losses]
        if untried:
            return untried
        frontier = [point for near in frontier for point in grid.neighbours(near)]
        frontier = [point for point in dict.fromkeys(frontier) if point not in seen]
        seen.update(frontier)
    return []


def _contest(
    centre: Point,
    table: Mapping[Point, Mapping[int, float]],
    means: Mapping[Point, float],
    noise: Noise,
    seeds: Sequence[int],
    losses: Losses,
    confidence: float,
) -> list[Trial]:
    """More seeds for a new best setting that is not clearly better than the best one that was repeated."""
    most = max(len(by_seed) for by_seed in table.values())
    missing = [Trial(centre, seed) for seed in seeds if Trial(centre, seed) not in losses]
    if len(table[centre]) >= most or not missing:
        return []
    holder = best_point({point: means[point] for point, by_seed in table.items() if len(by_seed) == most})
    is_clear = compare(table[centre], table[holder], noise, confidence=confidence).verdict == "better"
    return [] if is_clear else missing[: most - len(table[centre])]


def _repeats(
    grid: Grid,
    centre: Point,
    table: Mapping[Point, Mapping[int, float]],
    seeds: Sequence[int],
    losses: Losses,
    confidence: float,
) -> list[Trial]:
    """One more seed for the neighbours that are not separated from the centre: on each axis once, because noise may
    differ between them, then the closest first. At last every seed for the centre, whose loss the search reports."""
    star = {step.point: step.axis for step in grid.steps(centre) if step.point is not None and step.point in table}
    noise = estimate_noise(table, [centre, *star])
    compared = {point: compare(table[point], table[centre], noise, confidence=confidence) for point in star}
    open_points = [point for point in star if compared[point].verdict == "not separated"]
    pairs_on_axis = {axis: max(compared[p].num_pairs for p in star if star[p] == axis) for axis in star.values()}
    open_points.sort(key=lambda point: (min(2, pairs_on_axis[star[point]]), _margin(compared[point].margin), point))
    wanted: list[Trial] = []
    for point in open_points:
        seed = next((seed for seed in seeds if Trial(point, seed) not in losses), None)
        if seed is None:
            continue
        pair = [Trial(centre, seed), Trial(point, seed)]
        wanted += [trial for trial in pair if trial not in losses and trial not in wanted]
    return wanted or [Trial(centre, seed) for seed in seeds if Trial(centre, seed) not in losses]


def _margin(margin: float | None) -> float:
    return math.inf if margin is None else _rounded(margin)


def _predicted(points: Sequence[Point], centre: Point, means: Mapping[Point, float]) -> dict[Point, float]:
    """Losses expected at `points`: a parabola along each axis, fitted to all known settings, near ones most."""
    known = sorted(means)
    offsets = np.array(known, dtype=float) - np.array(centre, dtype=float)
    near = 1.0 / (1.0 + np.abs(offsets).sum(axis=1))
    target = np.array([means[point] for point in known]) - means[centre]
    design = _features(offsets) * near[:, None]
    penalty = _RIDGE * np.eye(design.shape[1])
    coefficients = np.linalg.solve(design.T @ design + penalty, design.T @ (target * near))
    wanted = _features(np.array(points, dtype=float) - np.array(centre, dtype=float)) @ coefficients
    return {point: float(value) for point, value in zip(points, wanted, strict=True)}


def _features(offsets: np.ndarray) -> np.ndarray:
    """Linear and quadratic terms of each axis, (points, 2 x axes)."""
    return np.concatenate([offsets, offsets**2], axis=1)
