"""Optuna as the chooser of the first trials: the same driver, the same certificate."""

import numpy as np
import pytest

from megadocs.search import Grid, LocalWalk, Walks, build_axis, certify

pytest.importorskip("optuna")

from megadocs.search.optuna_sampler import OptunaSampler

GRID = Grid(tuple(build_axis(name, [1, 2, 4, 8, 16]) for name in "abc"))
SEEDS = (0, 1)


def loss_of(trial):
    return 3.0 + sum(0.1 * (index - best) ** 2 for index, best in zip(trial.point, (3, 1, 2), strict=True))


def search(order_seed, num_trials=12):
    walk = LocalWalk(GRID, (0, 0, 0), SEEDS)
    walks, known, order = Walks([OptunaSampler(walk, num_trials)], round_size=2), {}, np.random.default_rng(order_seed)
    while not walks.is_finished:
        needed = [trial for _, trial in walks.needed() if trial not in known]
        trial = needed[order.integers(len(needed))]
        known[trial] = loss_of(trial) + 0.001 * (order_seed is None)
        walks.take_in([known])
    return walks.walks[0]


def test_optuna_begins_at_the_start_and_the_walk_certifies():
    walk = search(0)
    assert walk.rounds[0][0].point == (0, 0, 0)
    assert len({trial.point for trials in walk.rounds[:6] for trial in trials}) == 12
    certificate = certify(GRID, SEEDS, walk.losses)
    assert (certificate.kind, certificate.point) == ("interior", (3, 1, 2))


def test_it_proposes_the_same_whatever_the_order_of_results():
    assert search(1).rounds == search(2).rounds


def test_more_trials_than_settings_end_all_the_same():
    small = Grid((build_axis("a", [1, 2, 4]),))
    walks, known = Walks([OptunaSampler(LocalWalk(small, (0,), (0,)), 50)], round_size=2), {}
    while not walks.is_finished:
        known |= {trial: 3.0 + abs(trial.point[0] - 1) for _, trial in walks.needed()}
        walks.take_in([known])
    assert {trial.point for trial in known} == {(0,), (1,), (2,)}
