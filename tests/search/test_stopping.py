"""Hopeless trials on surfaces: stopped ones never certify by themselves, and the certificate stays what it was."""

import itertools

import numpy as np
import pytest

from megadocs.search import STOPPED, Grid, Trial, build_axis, certify, next_trials

GRID = Grid(tuple(build_axis(name, [1, 2, 4, 8, 16]) for name in "abc"))
SEEDS = (0, 1, 2)


def surface(number):
    draw = np.random.default_rng(number)
    best, width = draw.uniform(0.5, 3.5, 3), draw.uniform(0.2, 0.8, 3)
    table = {p: 3.0 + float((width * (np.array(p) - best) ** 2).sum()) for p in itertools.product(range(5), repeat=3)}
    return lambda trial: table[trial.point] + np.random.default_rng([number, *trial.point, trial.seed]).normal(0, 0.01)


def search(loss_of, *, margin=None, trust=False):
    """The walk; a first-seed trial whose loss exceeds the best one by the margin is stopped half-way."""
    losses, cost = {}, 0.0
    while trials := next_trials(GRID, (4, 4, 4), SEEDS, losses, trust_stopped=trust):
        ended = [loss for loss in losses.values() if loss not in (None, STOPPED)]
        for trial in trials:
            can_stop = margin is not None and ended and trial.seed == SEEDS[0] and not trial.to_end
            is_stopped = can_stop and loss_of(trial) > min(ended) + margin
            losses[trial] = STOPPED if is_stopped else loss_of(trial)
            cost += 0.5 if is_stopped else 1.0
    return certify(GRID, SEEDS, losses, trust_stopped=trust), losses, cost


@pytest.mark.parametrize("number", range(20))
def test_stopped_trials_are_no_tried_neighbours_until_they_ran_to_their_end(number):
    loss_of = surface(number)
    plain, _, plain_cost = search(loss_of)
    found, losses, cost = search(loss_of, margin=0.3)
    assert (found.kind, found.point) == (plain.kind, plain.point)
    assert "stopped" not in [line.verdict for line in found.neighbours]
    for point in GRID.neighbours(found.point):
        assert any(losses.get(Trial(point, 0, to_end)) not in (None, STOPPED) for to_end in (False, True))
    assert found.num_stopped == sum(loss == STOPPED for loss in losses.values())
    trusted, _, trusted_cost = search(loss_of, margin=0.3, trust=True)
    assert trusted.point == plain.point
    assert trusted_cost <= min(cost, plain_cost)


def test_a_trusted_stop_is_marked_and_counts_as_worse():
    certificates = [search(surface(number), margin=0.3, trust=True)[0] for number in range(20)]
    marked = [c for c in certificates if "stopped" in [line.verdict for line in c.neighbours]]
    assert marked
    assert all(c.kind != "incomplete" for c in marked)


def test_without_trust_a_stopped_neighbour_leaves_the_certificate_incomplete():
    losses = {Trial((2, 2, 2), 0): 3.0} | {Trial(point, 0): 4.0 for point in GRID.neighbours((2, 2, 2))}
    losses[Trial((2, 2, 3), 0)] = STOPPED
    certificate = certify(GRID, SEEDS, losses)
    assert certificate.kind == "incomplete"
    assert [line.verdict for line in certificate.neighbours].count("stopped") == 1
    assert (certificate.num_failed, certificate.num_stopped) == (0, 1)
    assert next_trials(GRID, (2, 2, 2), SEEDS, losses) == [Trial((2, 2, 3), 0, to_end=True)]
