import itertools
import random

import numpy as np
import pytest

from megadocs.search import Grid, Trial, build_axis, certify, count_bounds, next_trials
from megadocs.search.walk import best_point


def grid_of(*sizes, upper=None):
    axes = [build_axis(f"axis{n}", [2.0**i for i in range(size)], upper=upper) for n, size in enumerate(sizes)]
    return Grid(tuple(axes))


def bowl(best, *, scale=1.0):
    return lambda trial: scale * sum((a - b) ** 2 for a, b in zip(trial.point, best, strict=True)) + 0.1 * trial.seed


def walk(grid, start, loss, *, seeds=(0, 1, 2), **options):
    """All losses of a walk, and its rounds."""
    losses, rounds = {}, []
    while trials := next_trials(grid, start, seeds, losses, **options):
        assert not set(trials) & set(losses), "a trial was asked for twice"
        rounds.append(trials)
        losses |= {trial: loss(trial) for trial in trials}
    return losses, rounds


@pytest.mark.parametrize("best", list(itertools.product(range(5), range(3), range(4)))[::7])
def test_every_optimum_is_found_and_certified(best):
    grid = grid_of(5, 3, 4)
    losses, _ = walk(grid, (2, 1, 2), bowl(best))
    certificate = certify(grid, (0, 1, 2), losses)
    assert certificate.point == best
    on_rim = any(i in (0, n - 1) for i, n in zip(best, (5, 3, 4), strict=True))
    assert certificate.kind == ("edge" if on_rim else "interior")
    assert bool(certificate.edges) == on_rim
    assert certificate.is_separated
    assert certificate.num_seeds == 3
    assert len({trial.point for trial in losses}) < grid.num_points / 2


def test_rounds_keep_their_size_and_the_first_is_the_start():
    _, rounds = walk(grid_of(5, 5), (2, 2), bowl((0, 4)), round_size=3)
    assert rounds[0] == [Trial((2, 2), 0)]
    assert max(map(len, rounds)) <= 3


def test_decisions_depend_on_the_results_alone():
    grid, losses = grid_of(4, 4), {}
    losses, _ = walk(grid, (0, 0), bowl((2, 3)))
    for count in range(1, len(losses)):
        known = list(losses.items())[:count]
        shuffled = random.Random(count).sample(known, count)
        assert next_trials(grid, (0, 0), (0, 1, 2), dict(known)) == next_trials(grid, (0, 0), (0, 1, 2), dict(shuffled))


def test_known_results_are_not_asked_for_again():
    grid = grid_of(4, 4)
    losses = {Trial(point, 0): bowl((2, 2))(Trial(point, 0)) for point in itertools.product(range(4), range(4))}
    trials = next_trials(grid, (0, 0), (0, 1), losses)
    assert {trial.seed for trial in trials} == {1}


def test_an_edge_extends_itself_up_to_its_limit():
    narrow, wide = grid_of(3, 3), grid_of(3, 3, upper=64)
    best = (5, 1)
    losses, _ = walk(narrow, (1, 1), bowl(best))
    at_edge = certify(narrow, (0, 1, 2), losses)
    assert (at_edge.kind, at_edge.point, at_edge.edges) == ("edge", (2, 1), ("axis0 = 4, the highest value",))
    losses, _ = walk(wide, (1, 1), bowl(best))
    inside = certify(wide, (0, 1, 2), losses)
    assert (inside.kind, inside.point, inside.setting["axis0"]) == ("interior", (5, 1), 32.0)
    assert any(line.is_extended for line in inside.neighbours)


def test_a_failed_neighbour_makes_the_certificate_incomplete_and_the_rest_is_tried():
    def loss(trial):
        return None if trial.point == (3, 2) else bowl((2, 2))(trial)

    grid = grid_of(5, 5)
    losses, _ = walk(grid, (1, 1), loss)
    certificate = certify(grid, (0, 1, 2), losses)
    assert (certificate.kind, certificate.point, certificate.num_failed) == ("incomplete", (2, 2), 1)
    assert sorted(line.verdict for line in certificate.neighbours) == ["failed", "worse", "worse", "worse"]


def test_a_failed_start_is_walked_around():
    losses, _ = walk(
        grid_of(4, 4), (0, 0), lambda trial: None if trial.point in ((0, 0), (0, 1)) else bowl((2, 2))(trial)
    )
    assert certify(grid_of(4, 4), (0, 1, 2), losses).kind == "interior"


def test_when_everything_fails_the_walk_ends():
    grid = grid_of(3, 3)
    losses, _ = walk(grid, (1, 1), lambda trial: None)
    assert len(losses) == grid.num_points
    certificate = certify(grid, (0, 1, 2), losses)
    assert (certificate.kind, certificate.point, certificate.num_failed) == ("incomplete", None, 9)


def test_a_budget_that_ends_early_certifies_nothing_untried():
    grid, losses = grid_of(5, 5), {}
    while len(losses) < 4:
        losses |= {trial: bowl((2, 2))(trial) for trial in next_trials(grid, (2, 2), (0, 1), losses, round_size=1)}
    certificate = certify(grid, (0, 1), losses)
    assert certificate.kind == "incomplete"
    assert "not tried" in [line.verdict for line in certificate.neighbours]


def test_where_there_is_nothing_but_noise_few_optima_are_called_separated():
    grid, separated, sds = grid_of(5, 5, 5), 0, []
    for number in range(60):
        draw = random.Random(number)
        losses, _ = walk(grid, (2, 2, 2), lambda trial, draw=draw: draw.gauss(0, 1.0))
        certificate = certify(grid, (0, 1, 2), losses)
        separated += certificate.is_separated
        sds.append(certificate.noise_sd)
    assert separated <= 6  # one in ten: the best of many lucky ones is compared with its neighbours
    assert sum(sds) / len(sds) == pytest.approx(1.0, rel=0.2)


def test_a_lucky_run_is_repeated_before_it_leads_away():
    grid = grid_of(5)
    lucky = Trial((3,), 0)

    def loss(trial):
        wiggle = 0.01 * ((7 * trial.point[0] + 5 * trial.seed) % 3)
        return (0.0 if trial == lucky else abs(trial.point[0] - 2) + 1.0) + wiggle

    losses, _ = walk(grid, (2,), loss)
    certificate = certify(grid, (0, 1, 2), losses)
    assert {trial.seed for trial in losses if trial.point == (3,)} == {0, 1, 2}
    assert certificate.num_seeds == 3


def test_one_seed_gives_a_certificate_without_separation():
    grid = grid_of(4, 4)
    losses, _ = walk(grid, (1, 1), bowl((2, 2)), seeds=(7,))
    certificate = certify(grid, (7,), losses)
    assert (certificate.kind, certificate.is_separated, certificate.noise_sd) == ("interior", False, None)


def test_a_single_setting_needs_its_seeds_and_nothing_else():
    losses, _ = walk(grid_of(1, 1), (0, 0), bowl((0, 0)))
    assert sorted(trial.seed for trial in losses) == [0, 1, 2]
    assert certify(grid_of(1, 1), (0, 1, 2), losses).kind == "interior"


def test_bounds_hold():
    grid = grid_of(4, 3, 3)
    for best in itertools.product(range(4), range(3), range(3)):
        losses, _ = walk(grid, (1, 1, 1), bowl(best))
        fewest, most = count_bounds(grid, (1, 1, 1), 3)
        assert fewest <= len(losses) <= most


def parabolas(points, centre, known):
    """Ridge regression by stretched least squares: terms x and x * x of each axis, near settings weigh more."""
    rows, targets = [], []
    for point, loss in known.items():
        offset = [a - b for a, b in zip(point, centre, strict=True)]
        weight = 1 / (1 + sum(map(abs, offset)))
        rows.append([weight * x for x in offset] + [weight * x * x for x in offset])
        targets.append(weight * (loss - known[centre]))
    size = len(rows[0])
    for number in range(size):
        rows.append([0.1**0.5 * (number == other) for other in range(size)])
        targets.append(0.0)
    found = np.linalg.lstsq(np.array(rows), np.array(targets), rcond=None)[0]
    steps = [[a - b for a, b in zip(point, centre, strict=True)] for point in points]
    return [sum(f * x for f, x in zip(found, [*s, *(x * x for x in s)], strict=True)) for s in steps]


def test_untried_neighbours_come_in_the_order_of_their_promise():
    rng, grid, several = random.Random(3), grid_of(6, 5, 4), 0
    for _ in range(60):
        known = {
            tuple(rng.randrange(size) for size in (6, 5, 4)): rng.uniform(2, 4) for _ in range(rng.randrange(1, 9))
        }
        centre = min(known, key=known.get)
        untried = sorted(point for point in grid.neighbours(centre) if point not in known)
        promise = dict(zip(untried, parabolas(untried, centre, known), strict=True))
        losses = {Trial(point, 7): loss for point, loss in known.items()}
        whole = next_trials(grid, (0, 0, 0), (7, 8), losses, round_size=None)
        assert sorted((trial.point, trial.seed) for trial in whole) == [(point, 7) for point in untried]
        ordered = [promise[trial.point] for trial in whole]
        assert all(late > early - 1e-9 for early, late in itertools.pairwise(ordered))
        assert next_trials(grid, (0, 0, 0), (7, 8), losses) == whole[:2]
        assert next_trials(grid, (0, 0, 0), (7, 8), losses, round_size=1) == whole[:1]
        several += ordered[-1] > ordered[0] + 0.01
    assert several > 40


def test_a_failed_start_is_left_in_rings():
    """Its neighbours, then theirs, each once; only of the first seed."""
    grid, losses, rings = grid_of(3, 3), {}, []
    while trials := next_trials(grid, (0, 1), (4, 5), losses, round_size=None):
        rings.append([trial.point for trial in trials])
        assert {trial.seed for trial in trials} == {4}
        losses |= dict.fromkeys(trials)
    assert rings == [[(0, 1)], [(1, 1), (0, 0), (0, 2)], [(2, 1), (1, 0), (1, 2)], [(2, 0), (2, 2)]]


def test_the_first_of_equal_settings_is_the_best():
    assert best_point({(1, 0): 2.0, (0, 2): 1.0, (0, 1): 1.0, (2, 0): 1.0}) == (0, 1)


@pytest.mark.parametrize(
    ("loss", "repeats", "expected"),
    [
        (1.0, 3, [Trial((5,), 0)]),  # clearly better: its neighbour
        (2.9999, 3, [Trial((4,), 1), Trial((4,), 2)]),  # it must hold for as many seeds
        (2.9999, 2, [Trial((4,), 1)]),
        (1.0, 2, [Trial((5,), 0)]),
        (1.0, 1, [Trial((5,), 0)]),  # the others have no more seeds than it
    ],
)
def test_a_new_best_setting_is_repeated_unless_it_is_clearly_better(loss, repeats, expected):
    """Of settings 0 to 3, run with as many seeds, 3 was the best at 3.0; 4 was run once."""
    losses = {
        Trial((index,), seed): 3.0 + 0.5 * (3 - index) + 0.001 * ((index + 2 * seed) % 3) - 0.001 * (index % 3)
        for index in range(4)
        for seed in range(repeats)
    }
    losses[Trial((4,), 0)] = loss
    assert next_trials(grid_of(6), (0,), (0, 1, 2), losses) == expected
