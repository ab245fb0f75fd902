"""What a search may come to before anything is known: walks played on made-up loss surfaces.

    for trials in play_searches(walks, seeds=[0, 1, 2], max_runs=80): len(trials)

Each surface is a bowl: its lowest point lies anywhere on the declared values of the grid, its width differs between
axes, runs have noise of a third of the smallest gap between the best setting and its neighbours. A played search takes
the rounds that a real one would, the walks taking turns under one budget. Pure; the same draws each time.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from megadocs.search.grid import Grid
from megadocs.search.noise import Trial
from megadocs.search.rounds import LocalWalk, Walks

#: Width of the bowl along an axis: the loss rises by so much one step away, log-uniformly drawn.
_NARROWEST, _WIDEST = 4.0, 1.0
_NOISE = _WIDEST / 3


def play_searches(
    walks: Sequence[LocalWalk], *, seeds: Sequence[int], max_runs: int | None, num_draws: int = 20
) -> Iterator[list[tuple[int, Trial]]]:
    """The trials that each played search asks for, with the number of their walk, in the order of its rounds.

    Args:
        walks: one for each arm.
        seeds: the search's.
        max_runs: over all walks; None: no limit.
        num_draws: searches to play.
    """
    for number in range(num_draws):
        draw = np.random.default_rng(number)
        bowls = [_Bowl(walk.grid, seeds, draw) for walk in walks]
        playing = Walks(walks, round_size=max(walk.round_size for walk in walks), max_runs=max_runs)
        known: list[dict[Trial, float | None]] = [{} for _ in walks]
        asked: list[tuple[int, Trial]] = []
        while needed := [pair for pair in playing.needed() if pair[1] not in known[pair[0]]]:
            for place, trial in needed:
                known[place][trial] = bowls[place].loss(trial)
                asked.append((place, trial))
            playing.take_in(known)
        yield asked


class _Bowl:
    """One arm's loss surface."""

    def __init__(self, grid: Grid, seeds: Sequence[int], draw: np.random.Generator) -> None:
        ranges = [(axis.num_below, len(axis.values) - axis.num_above) for axis in grid.axes]
        self._lowest = np.array([draw.integers(low, high) for low, high in ranges])
        self._rise = np.exp(draw.uniform(np.log(_WIDEST), np.log(_NARROWEST), len(ranges)))
        self._of_seed = {seed: draw.standard_normal() for seed in seeds}
        self._draw = draw

    def loss(self, trial: Trial) -> float:
        """Of one run."""
        distance = np.array(trial.point) - self._lowest
        return float(
            (self._rise * distance**2).sum() + self._of_seed[trial.seed] + _NOISE * self._draw.standard_normal()
        )
