"""Expected wall time: the runner's order, played through."""

import pytest

from megadocs.pipeline.plan_time import wall_seconds
from megadocs.pipeline.step import Step


def step(name, *inputs, slots=1):
    return Step("train", name, {}, {"name": name}, {needed.name: needed for needed in inputs}, slots=slots)


def wall(steps, seconds, num_slots=2):
    return wall_seconds(steps, {s.fingerprint: t for s, t in zip(steps, seconds, strict=True) if t}, num_slots)


@pytest.mark.parametrize(
    "steps, seconds, expected",
    [
        ([], [], 0.0),
        ([step("a"), step("b"), step("c")], [4, 1, 2], 4.0),
        ([step("a"), step("b", step("a"))], [4, 1], 5.0),
        ([step("a"), step("b", step("a"))], [0, 1], 1.0),  # a is there
        ([step("a"), step("b", slots=None), step("c")], [4, 1, 2], 7.0),  # c does not overtake b
        ([step("a", slots=5), step("b")], [4, 1], 5.0),  # more slots than there are: all of them
    ],
)
def test_wall_time_by_hand(steps, seconds, expected):
    assert wall(steps, seconds) == expected
