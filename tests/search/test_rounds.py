"""Walks in rounds: the same trials count whatever the order of results; budgets in a fixed order; trials ahead."""

import itertools

import numpy as np
import pytest

from megadocs.search import Grid, LocalWalk, Trial, Walks, build_axis, certify, next_trials
from megadocs.search.rounds import Walk

GRID = Grid((build_axis("a", [1, 2, 4, 8]), build_axis("b", [1, 2, 4])))
SEEDS = (0, 1, 2)


def loss_of(trial):
    draw = np.random.default_rng([7, *trial.point, trial.seed])
    return 3.0 + 0.1 * (trial.point[0] - 2) ** 2 + 0.07 * (trial.point[1] - 1) ** 2 + draw.normal(0, 0.01)


def make(num_walks=1, max_runs=None):
    return Walks([LocalWalk(GRID, (0, 0), SEEDS) for _ in range(num_walks)], max_runs=max_runs)


def simulate(walks, order, *, num_slots, ahead):
    """Run all walks on so many slots; `order` draws which of the running trials ends next. Returns what was run."""
    known, running = [{} for _ in walks.walks], []
    for _ in range(10_000):
        walks.take_in(known)
        if walks.is_finished:
            return known
        under_way = [{trial for number, trial in running if number == n} for n in range(len(known))]
        for number, trial in walks.needed():
            if len(running) < num_slots and trial not in known[number] and trial not in under_way[number]:
                running.append((number, trial))
                under_way[number].add(trial)
        for number in range(len(known)) if ahead else ():
            following = walks.ahead(number, known[number], under_way[number])
            if following is not None and len(running) < num_slots:
                running.append((number, following))
        assert running, "nothing runs and nothing is finished"
        number, trial = running.pop(order.integers(len(running)))
        known[number][trial] = loss_of(trial)
    raise AssertionError("the walks do not end")


@pytest.mark.parametrize("max_runs", [None, 1, 7, 20])
def test_what_counts_does_not_depend_on_order_slots_or_what_began_ahead(max_runs):
    seen = set()
    for number, (num_slots, ahead) in enumerate(itertools.product([1, 2, 5], [False, True])):
        walks = make(num_walks=2, max_runs=max_runs)
        simulate(walks, np.random.default_rng(number), num_slots=num_slots, ahead=ahead)
        seen.add(tuple(tuple(walk.losses.items()) for walk in walks.walks))
    assert len(seen) == 1


def test_a_walk_in_rounds_is_the_walk_of_next_trials():
    walks = make()
    simulate(walks, np.random.default_rng(0), num_slots=1, ahead=False)
    losses = {}
    while trials := next_trials(GRID, (0, 0), SEEDS, losses):
        losses |= {trial: loss_of(trial) for trial in trials}
    assert walks.walks[0].losses == losses
    assert certify(GRID, SEEDS, losses).kind == "interior"


@pytest.mark.parametrize("max_runs", [1, 2, 5, 9])
def test_a_budget_is_spent_to_the_last_run_and_shared_by_rounds(max_runs):
    walks = make(num_walks=2, max_runs=max_runs)
    simulate(walks, np.random.default_rng(1), num_slots=3, ahead=False)
    sizes = [len(walk.losses) for walk in walks.walks]
    assert sum(sizes) == max_runs
    assert any(walk.is_cut for walk in walks.walks)
    assert abs(sizes[0] - sizes[1]) <= 2


def test_a_walk_that_is_ahead_waits_when_the_budget_may_not_reach():
    walks = make(num_walks=2, max_runs=6)
    known = [{Trial(point, 0): loss_of(Trial(point, 0)) for point in itertools.product(range(4), range(3))}, {}]
    walks.take_in(known)
    assert len(walks.walks[0].losses) < 6
    needed = walks.needed()
    assert [trial for number, trial in needed if number == 1] == [Trial((0, 0), 0)]


def test_what_begins_ahead_is_what_the_walk_asks_for_next():
    walks = make()
    start = Trial((0, 0), 0)
    following = walks.ahead(0, {}, {start})
    assert following in [Trial(point, 0) for point in GRID.neighbours((0, 0))]
    walks.take_in([{start: loss_of(start)}])
    assert following in [trial for _, trial in walks.needed()]
    assert walks.ahead(0, {start: loss_of(start)}, {following}) not in (following, start)


def test_free_slots_take_the_rest_of_the_neighbours():
    walks = Walks([LocalWalk(GRID, (1, 1), SEEDS)])
    centre = Trial((1, 1), 0)
    walks.take_in([{centre: 1.0}])
    needed = {trial for _, trial in walks.needed()}
    begun = set(needed)
    while (trial := walks.ahead(0, {centre: 1.0}, begun)) is not None:
        begun.add(trial)
    assert len(needed) == 2
    assert begun == {Trial(point, 0) for point in GRID.neighbours((1, 1))}


def test_a_walk_whose_first_trials_all_fail_is_given_up():
    walks = make()
    known = {}
    while not walks.is_finished:
        known |= {trial: None for _, trial in walks.needed()}
        walks.take_in([known])
    assert len(known) == 5


def test_how_much_may_begin_ahead():
    """Half of what the walks have asked for, at least one, and nothing past the budget."""

    def answers(walks):
        return [walks.may_begin_ahead(number) for number in range(4)]

    walks = make()
    assert (walks.num_trials, answers(walks)) == (1, [True, False, False, False])
    known = {Trial((0, 0), 0): 3.0}
    walks.take_in([known])
    assert (walks.num_trials, answers(walks)) == (3, [True, False, False, False])
    while walks.num_trials < 7:
        known |= {trial: loss_of(trial) for _, trial in walks.needed()}
        walks.take_in([known])
    assert (walks.num_trials, answers(walks)) == (7, [True, True, True, False])
    for max_runs, expected in ((8, [True, False, False, False]), (9, [True, True, False, False]), (7, [False] * 4)):
        walks = make(max_runs=max_runs)
        walks.take_in([known])
        assert (walks.num_trials, answers(walks)) == (7, expected)


def test_by_itself_a_walk_is_open_and_has_nothing():
    walk = Walk(LocalWalk(GRID, (0, 0), SEEDS))
    assert (walk.rounds, walk.ahead, walk.losses, walk.is_finished, walk.is_cut) == ([], [], {}, False, False)
    assert walk.open_round == []
    walk.rounds.append([Trial((0, 0), 0)])
    assert walk.open_round == [Trial((0, 0), 0)]
    walk.is_finished = True
    assert walk.open_round == []
