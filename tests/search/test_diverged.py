"""Diverged trials: worse than every one that finished, so that their neighbour can be certified."""

import itertools

import numpy as np

from megadocs.search import DIVERGED, Grid, Trial, build_axis, certify, next_trials

GRID = Grid(tuple(build_axis(name, [1, 2, 4, 8, 16]) for name in "abc"))
SEEDS = (0, 1, 2)


def surface(number):
    draw = np.random.default_rng(number)
    best, width = draw.uniform(0.5, 3.5, 3), draw.uniform(0.2, 0.8, 3)
    table = {p: 3.0 + float((width * (np.array(p) - best) ** 2).sum()) for p in itertools.product(range(5), repeat=3)}
    return lambda trial: table[trial.point] + np.random.default_rng([number, *trial.point, trial.seed]).normal(0, 0.01)


def walk(loss_of):
    losses = {}
    while trials := next_trials(GRID, (4, 4, 4), SEEDS, losses):
        losses |= {trial: loss_of(trial) for trial in trials}
    return losses


def test_a_diverged_neighbour_is_worse_than_every_finished_one_and_never_run_again():
    losses = {Trial((2, 2, 2), seed): 3.0 + seed / 1000 for seed in SEEDS}
    losses |= {Trial(point, seed): 4.0 + seed / 1000 for point in GRID.neighbours((2, 2, 2)) for seed in SEEDS}
    losses |= {Trial((2, 2, 3), 0): DIVERGED, Trial((2, 2, 3), 1): 2.0}
    del losses[Trial((2, 2, 3), 2)]
    certificate = certify(GRID, SEEDS, losses)
    assert (certificate.kind, certificate.point) == ("interior", (2, 2, 2))  # not the setting that one seed survived
    assert [line.verdict for line in certificate.neighbours].count("diverged") == 1
    assert (certificate.num_failed, certificate.num_diverged) == (0, 1)
    assert next_trials(GRID, (2, 2, 2), SEEDS, losses) == []


def test_a_failed_neighbour_leaves_it_incomplete_as_before():
    losses = {Trial((2, 2, 2), 0): 3.0} | {Trial(point, 0): 4.0 for point in GRID.neighbours((2, 2, 2))}
    losses[Trial((2, 2, 3), 0)] = None
    assert certify(GRID, SEEDS, losses).kind == "incomplete"


def test_a_walk_that_begins_where_runs_diverge_leaves():
    loss_of = surface(3)
    losses = walk(lambda trial: DIVERGED if sum(trial.point) > 9 else loss_of(trial))
    assert certify(GRID, SEEDS, losses).point == certify(GRID, SEEDS, walk(loss_of)).point
    assert losses[Trial((4, 4, 4), 0)] == DIVERGED
