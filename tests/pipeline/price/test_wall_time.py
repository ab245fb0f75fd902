"""Expected wall time: the runner's order, simulated."""

import pytest

from megadocs.pipeline.price.wall_time import WorkerTimes, wall_seconds
from megadocs.pipeline.steps.step import Step


def step(name, *inputs, slots=1, kind="train", exclusive=None):
    needed = {needed.name: needed for needed in inputs}
    return Step(kind, name, {}, {"name": name}, needed, slots=slots, exclusive=exclusive)


def wall(steps, seconds, num_slots=2, workers=None):
    expected = {s.fingerprint: t for s, t in zip(steps, seconds, strict=True) if t}
    return wall_seconds(steps, expected, num_slots, workers)


@pytest.mark.parametrize(
    "steps, seconds, expected",
    [
        ([], [], 0.0),
        ([step("a"), step("b"), step("c")], [4, 1, 2], 4.0),
        ([step("a"), step("b", step("a"))], [4, 1], 5.0),
        ([step("a"), step("b", step("a"))], [0, 1], 1.0),  # a is there
        ([step("a"), step("b", slots=None), step("c")], [4, 1, 2], 7.0),  # c does not overtake b
        ([step("a", slots=5), step("b")], [4, 1], 5.0),  # more slots than there are: all of them
        ([step("a", exclusive="x"), step("b", exclusive="x"), step("c")], [4, 1, 2], 5.0),  # a and b one by one
    ],
)
def test_wall_time_by_hand(steps, seconds, expected):
    assert wall(steps, seconds) == expected


def test_workers_cost_their_start_and_torch_once_each():
    workers = WorkerTimes(process_seconds=1.0, torch_seconds=3.0)
    rows = step("rows", kind="rows")
    trains = [step(name, rows) for name in "abcd"]
    steps = [rows, *trains]
    assert wall([rows], [2.0], workers=workers) == 3.0
    # One slot: one process for all; torch with the first run. Two: the second process starts beside the first's import.
    assert wall(steps, [2.0, 5, 5, 5, 5], num_slots=1, workers=workers) == 1 + 2 + 3 + 4 * 5
    assert wall(steps, [2.0, 5, 5, 5, 5], num_slots=2, workers=workers) == (1 + 2) + (1 + 3 + 5) + 5
    # Steps with other numbers of threads have processes of their own.
    wide = step("wide", rows, slots=2)
    assert wall([rows, trains[0], wide], [2.0, 5, 7], workers=workers) == (1 + 2) + (3 + 5) + (1 + 3 + 7)
