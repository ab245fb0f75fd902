"""Certificates by hand: their kind, each neighbour's line, and what a search costs at least and at most."""

import pytest

from megadocs.search import DIVERGED, Grid, Trial, build_axis, certify, count_bounds
from megadocs.search.certificate import Certificate, NeighbourLine, cheapest_points

GRID = Grid((build_axis("rate", [1.0, 2.0, 4.0], upper=8.0), build_axis("decay", [0.5]), build_axis("passes", [8, 16])))
SEEDS = (0, 1, 2)
#: A bowl around (2, 0, 1): rate 4, the highest declared; passes 16, the highest there is.
LOSS = {(0, 0, 1): 4.0, (1, 0, 1): 3.2, (2, 0, 1): 3.0, (3, 0, 1): 3.5, (2, 0, 0): 3.4}


def losses() -> dict[Trial, float | None]:
    noise = {0: 0.0, 1: 0.01, 2: 0.02}
    return {
        Trial(point, seed): loss + noise[seed] + 1e-4 * sum(point) * seed
        for point, loss in LOSS.items()
        for seed in SEEDS
    }


def test_nothing_finished_certifies_nothing() -> None:
    found = certify(GRID, SEEDS, {Trial((0, 0, 0), 0): None, Trial((1, 0, 0), 0): DIVERGED})
    assert found == Certificate("incomplete", None, {}, None, 0, False, (), (), None, 0, 2, 1, 1)
    assert (found.kind, found.point, found.setting, found.loss) == ("incomplete", None, {}, None)
    assert (found.num_seeds, found.is_separated, found.edges, found.neighbours) == (0, False, (), ())
    assert (found.noise_sd, found.noise_freedom) == (None, 0)
    assert (found.num_trials, found.num_failed, found.num_diverged) == (2, 1, 1)


def test_an_edge_names_its_side_and_every_neighbour_has_a_line() -> None:
    found = certify(GRID, SEEDS, losses())
    assert (found.kind, found.point) == ("edge", (2, 0, 1))
    assert found.setting == {"rate": 4.0, "decay": 0.5, "passes": 16}
    assert found.edges == ("passes = 16, the highest value",)
    assert found.loss == pytest.approx(3.01 + 1e-4 * 3)
    assert (found.num_seeds, found.is_separated, found.num_trials) == (3, True, 15)
    assert (found.num_failed, found.num_diverged) == (0, 0)
    lines = [(line.axis, line.value, line.is_extended, line.verdict, line.num_pairs) for line in found.neighbours]
    assert lines == [
        ("rate", 2.0, False, "worse", 3),
        ("rate", 8.0, True, "worse", 3),
        ("passes", 8, False, "worse", 3),
        ("passes", None, False, None, 0),
    ]
    assert [line.margin for line in found.neighbours[:3]] == pytest.approx([0.2, 0.5, 0.4], abs=1e-3)
    assert [line.loss for line in found.neighbours[:3]] == pytest.approx([3.21, 3.51, 3.41], abs=1e-3)
    assert found.neighbours[3].loss is found.neighbours[3].margin is None
    assert found.noise_freedom == 6  # four settings of three seeds: 12 - 4 - 2
    assert 0 < found.neighbours[0].margin_error < 1e-3
    assert found.noise_sd == pytest.approx(found.neighbours[0].margin_error * (3 / 2) ** 0.5)
    assert found.to_json()["neighbours"][1]["is_extended"] is True


def test_the_lowest_side_is_named_too() -> None:
    axis = Grid((build_axis("rate", [1.0, 2.0]),))
    found = certify(axis, (0,), {Trial((0,), 0): 1.0, Trial((1,), 0): 2.0})
    assert found.edges == ("rate = 1, the lowest value",)
    assert (found.kind, found.is_separated) == ("edge", False)  # one seed shows no noise


def test_inside_the_grid_it_is_interior() -> None:
    axis = Grid((build_axis("rate", [1.0, 2.0, 4.0]),))
    runs = {
        Trial((index,), seed): (2.0, 1.0, 3.0)[index] + 0.01 * seed + 1e-4 * (index * seed == 2)
        for index in range(3)
        for seed in SEEDS
    }
    found = certify(axis, SEEDS, runs)
    assert (found.kind, found.is_separated, found.edges) == ("interior", True, ())


@pytest.mark.parametrize(
    ("change", "verdict", "failed", "diverged"),
    [
        ({}, "not tried", 0, 0),
        ({Trial((3, 0, 1), 0): None}, "failed", 1, 0),
        ({Trial((3, 0, 1), 1): None}, "not tried", 1, 0),
        ({Trial((3, 0, 1), 1): DIVERGED}, "diverged", 0, 1),
    ],
)
def test_a_neighbour_without_a_loss(change: dict, verdict: str, failed: int, diverged: int) -> None:
    runs = {trial: loss for trial, loss in losses().items() if trial.point != (3, 0, 1)} | change
    found = certify(GRID, SEEDS, runs)
    assert found.neighbours[1].verdict == verdict
    assert found.kind == ("edge" if verdict == "diverged" else "incomplete")
    assert found.is_separated == (verdict == "diverged")
    assert (found.num_failed, found.num_diverged) == (failed, diverged)
    assert (found.neighbours[1].margin, found.neighbours[1].num_pairs) == (None, 0)


def test_bounds_of_a_search() -> None:
    assert count_bounds(GRID, (1, 0, 0), 1) == (1 + 3, 8)
    assert count_bounds(GRID, (1, 0, 0), 3) == (3 + 3 + 3, 24)
    assert count_bounds(Grid((build_axis("rate", [1.0, 2.0]),)), (0,), 2) == (2 + 1 + 1, 4)
    assert cheapest_points(GRID, (1, 0, 0)) == [(1, 0, 0), (0, 0, 0), (2, 0, 0), (1, 0, 1)]


def test_a_whole_certificate_of_one_seed() -> None:
    """Without repeats there are margins, and nothing is separated; the order of trials does not matter."""
    runs = {Trial((1,), 4): 2.5, Trial((0,), 4): 2.0, Trial((2,), 4): None}
    grid = Grid((build_axis("rate", [1.0, 2.0], upper=4.0),))
    expected = Certificate(
        kind="edge",
        point=(0,),
        setting={"rate": 1.0},
        loss=2.0,
        num_seeds=1,
        is_separated=False,
        edges=("rate = 1, the lowest value",),
        neighbours=(
            NeighbourLine("rate", None, False, None),
            NeighbourLine("rate", 2.0, False, "not separated", 2.5, 0.5, None, 1),
        ),
        noise_sd=None,
        noise_freedom=0,
        num_trials=3,
        num_failed=1,
        num_diverged=0,
    )
    assert certify(grid, (4,), runs) == certify(grid, (4,), dict(reversed(runs.items()))) == expected
    assert NeighbourLine("rate", None, False, None) == NeighbourLine("rate", None, False, None, None, None, None, 0)
    better = certify(grid, (4,), {Trial((1,), 4): 2.0, Trial((0,), 4): 2.5, Trial((2,), 4): None})
    assert (better.kind, better.point) == ("incomplete", (1,))
    assert better.neighbours == (
        NeighbourLine("rate", 1.0, False, "not separated", 2.5, 0.5, None, 1),
        NeighbourLine("rate", 4.0, True, "failed", None, None, None, 0),
    )


def test_json_is_the_whole_certificate() -> None:
    found = certify(GRID, SEEDS, losses())
    table = found.to_json()
    lines = [NeighbourLine(**line) for line in table.pop("neighbours")]
    assert Certificate(**table, neighbours=tuple(lines)) == found


def test_a_better_neighbour_leaves_it_incomplete() -> None:
    """Far settings say that seed 1 is bad, which flatters the one that ran it; beside its neighbours it is none."""
    grid = Grid((build_axis("rate", [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0]),))
    runs = {Trial((0,), 0): 2.9}
    runs |= {Trial((1,), seed): 3.0 + 0.001 * (seed % 2) for seed in range(5)}
    runs |= {Trial((2,), seed): 3.5 + 0.001 * (seed % 3) for seed in range(5)}
    runs |= {Trial((far,), seed): 9.0 + 4 * seed for far in range(3, 7) for seed in range(2)}
    found = certify(grid, range(5), runs)
    assert [line.verdict for line in found.neighbours] == ["better", "worse"]
    assert (found.point, found.kind) == ((1,), "incomplete")
