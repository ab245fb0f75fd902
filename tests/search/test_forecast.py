"""Played searches: the rounds of the real walk, one budget, the same draws each time."""

import pytest

from megadocs.search import Grid, LocalWalk, build_axis, play_searches

SEEDS = [0, 1, 2]


def walk(*sizes):
    axes = tuple(build_axis(f"train.axis{number}", range(1, size + 1)) for number, size in enumerate(sizes))
    grid = Grid(axes)
    return LocalWalk(grid, tuple(size // 2 for size in sizes), SEEDS)


def test_a_search_takes_a_small_part_of_the_grid():
    played = list(play_searches([walk(6, 3, 4, 3)], seeds=SEEDS, max_runs=None))
    counts = [len(trials) for trials in played]
    assert len(counts) == 20
    # The benchmark on other surfaces: 19.9 runs of a grid of 216 on average, 32 at most.
    assert 12 < sum(counts) / len(counts) < 32
    assert all(len(set(trials)) == len(trials) for trials in played)


def test_a_budget_is_kept_and_shared():
    for trials in play_searches([walk(5, 5), walk(5, 5)], seeds=SEEDS, max_runs=12):
        assert len(trials) == 12
        by_walk = [sum(number == place for number, _ in trials) for place in (0, 1)]
        assert max(by_walk) - min(by_walk) <= 2  # they take turns, two runs a round


@pytest.mark.parametrize("sizes", [(1,), (1, 1), (2,)])
def test_small_grids_end(sizes):
    for trials in play_searches([walk(*sizes)], seeds=SEEDS, max_runs=None, num_draws=3):
        assert {trial.point for _, trial in trials} <= {(0,), (1,), (0, 0)}


def test_the_same_each_time():
    first, second = (list(play_searches([walk(4, 4)], seeds=SEEDS, max_runs=20, num_draws=3)) for _ in range(2))
    assert first == second
