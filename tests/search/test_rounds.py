"""Walks in rounds: the same trials count whatever the order of results; budgets in a fixed order; guesses."""

import itertools

import numpy as np
import pytest

from megadocs.search import Grid, LocalWalk, Trial, Walks, build_axis, certify

GRID = Grid((build_axis("a", [1, 2, 4, 8]), build_axis("b", [1, 2, 4])))
SEEDS = (0, 1, 2)


def loss_of(trial):
    draw = np.random.default_rng([7, *trial.point, trial.seed])
    return 3.0 + 0.1 * (trial.point[0] - 2) ** 2 + 0.07 * (trial.point[1] - 1) ** 2 + draw.normal(0, 0.01)


def make(num_walks=1, max_runs=None):
    samplers = [LocalWalk(GRID, (0, 0), SEEDS) for _ in range(num_walks)]
    return Walks(samplers, round_size=2, max_runs=max_runs)


def simulate(walks, order, *, num_slots, guesses):
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
        for number in range(len(known)) if guesses else ():
            guess = walks.guess(number, known[number], under_way[number])
            if guess is not None and len(running) < num_slots:
                running.append((number, guess))
        assert running, "nothing runs and nothing is finished"
        number, trial = running.pop(order.integers(len(running)))
        known[number][trial] = loss_of(trial)
    raise AssertionError("the walks do not end")


@pytest.mark.parametrize("max_runs", [None, 1, 7, 20])
def test_what_counts_does_not_depend_on_order_slots_or_guesses(max_runs):
    seen = set()
    for number, (num_slots, guesses) in enumerate(itertools.product([1, 2, 5], [False, True])):
        walks = make(num_walks=2, max_runs=max_runs)
        simulate(walks, np.random.default_rng(number), num_slots=num_slots, guesses=guesses)
        seen.add(tuple(tuple(walk.losses.items()) for walk in walks.walks))
    assert len(seen) == 1


def test_a_walk_in_rounds_is_the_walk_of_next_trials():
    walks = make()
    simulate(walks, np.random.default_rng(0), num_slots=1, guesses=False)
    losses = {}
    while trials := LocalWalk(GRID, (0, 0), SEEDS).propose(losses):
        losses |= {trial: loss_of(trial) for trial in trials}
    assert walks.walks[0].losses == losses
    assert certify(GRID, SEEDS, losses).kind == "interior"


@pytest.mark.parametrize("max_runs", [1, 2, 5, 9])
def test_a_budget_is_spent_to_the_last_run_and_shared_by_rounds(max_runs):
    walks = make(num_walks=2, max_runs=max_runs)
    simulate(walks, np.random.default_rng(1), num_slots=3, guesses=False)
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


def test_a_guess_is_a_neighbour_that_the_walk_then_asks_for():
    walks = make()
    start = Trial((0, 0), 0)
    guess = walks.guess(0, {}, {start})
    assert guess in [Trial(point, 0) for point in GRID.neighbours((0, 0))]
    walks.take_in([{start: loss_of(start)}])
    assert guess in [trial for _, trial in walks.needed()]
    assert walks.guess(0, {start: loss_of(start)}, {guess}) not in (guess, start)


def test_a_walk_whose_first_trials_all_fail_is_given_up():
    walks = make()
    known = {}
    while not walks.is_finished:
        known |= {trial: None for _, trial in walks.needed()}
        walks.take_in([known])
    assert 5 <= len(known) <= 6
