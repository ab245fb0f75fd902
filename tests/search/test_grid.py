import pytest

from megadocs.errors import RecipeError
from megadocs.search import Axis, Grid, build_axis
from megadocs.search.grid import Step


def test_an_axis_continues_by_the_ratio_of_its_last_two_values_up_to_the_limit():
    axis = build_axis("train.weight_decay", [1.6, 0.4, 0.8], lower=0.1, upper=7)
    assert axis.values == (0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4)
    assert [axis.is_extended(index) for index in range(7)] == [True, True, False, False, False, True, True]


def test_each_end_has_its_own_ratio():
    axis = build_axis("lr", [1e-3, 3e-3, 1e-2], lower=3e-4, upper=4e-2)
    assert axis.values == (0.000333, 1e-3, 3e-3, 1e-2, 0.0333)


def test_without_limits_an_axis_ends_where_it_was_declared():
    assert build_axis("mixture.synthetic_fraction", [0.5, 0.75, 0.9]).values == (0.5, 0.75, 0.9)


@pytest.mark.parametrize(
    "values, limits",
    [
        ([], {}),
        ([1, 1], {}),
        ([float("nan")], {}),
        ([1, 2], {"upper": 1.5}),
        ([1, 2], {"lower": 1.5}),
        ([0, 1], {"lower": 0.1}),
        ([2], {"upper": 8}),
        ([1, 1.001], {"upper": 1000}),
    ],
)
def test_what_cannot_be_an_axis_is_refused_by_name(values, limits):
    with pytest.raises(RecipeError) as caught:
        build_axis("a.b", values, **limits)
    assert "search.axes.a.b" in caught.value.where


def test_a_limit_equal_to_the_end_adds_nothing():
    assert build_axis("a", [1, 2], lower=1, upper=2).values == (1, 2)


def test_nearest_is_by_ratio_and_never_an_extension():
    axis = build_axis("a", [1, 4], lower=0.25, upper=16)
    assert [axis.values[axis.nearest(value)] for value in (0.2, 1.9, 2.1, 2, 100)] == [1, 1, 4, 1, 4]


def test_steps_name_the_side_that_has_no_neighbour():
    grid = Grid((build_axis("a", [1, 2, 3]), build_axis("pinned", [5]), build_axis("b", [1, 2])))
    assert [(step.axis, step.direction, step.point) for step in grid.steps((1, 0, 0))] == [
        (0, -1, (0, 0, 0)),
        (0, 1, (2, 0, 0)),
        (2, -1, None),
        (2, 1, (1, 0, 1)),
    ]
    assert grid.neighbours((0, 0, 1)) == [(1, 0, 1), (0, 0, 0)]
    assert grid.setting((2, 0, 1)) == {"a": 3, "pinned": 5, "b": 2}


def test_counts_tell_declared_from_extended():
    grid = Grid((build_axis("a", [1, 2], upper=4), build_axis("b", [1, 2, 3])))
    assert (grid.num_points, grid.num_declared) == (9, 6)


DISTINCT = "an axis has at least one value, all distinct and finite"
RATIO = "an axis extends by the ratio of its last two values, both above 0"


@pytest.mark.parametrize(
    ("values", "limits", "what", "part", "remedy"),
    [
        ([], {}, DISTINCT, ".values", None),
        ([1, 1], {}, DISTINCT, ".values", None),
        ([1, float("inf")], {}, DISTINCT, ".values", None),
        ([1, 2], {"upper": 1.5}, "the limit 1.5 lies inside the values", ".upper", "put it past 2"),
        ([1, 2], {"lower": 1.5}, "the limit 1.5 lies inside the values", ".lower", "put it past 1"),
        ([1, 2], {"lower": 0}, "the limit 0 lies inside the values", ".lower", "put it past 1"),
        ([0, 1], {"lower": 0.1}, RATIO, ".lower", None),
        ([2], {"upper": 8}, RATIO, ".upper", None),
        ([1, 1.01], {"upper": 2}, "more than 64 values up to the limits", "", "narrow the limits"),
    ],
)
def test_refusals_word_for_word(values, limits, what, part, remedy):
    with pytest.raises(RecipeError) as caught:
        build_axis("a.b", values, **limits)
    assert (caught.value.what, caught.value.where, caught.value.remedy) == (what, f"search.axes.a.b{part}", remedy)


def test_sixty_four_values_are_allowed():
    assert len(build_axis("a", [2.0**n for n in range(62)], lower=0.25).values) == 64


def test_distances_are_ratios_only_above_zero():
    assert [build_axis("a", [-1, 0, 5]).nearest(value) for value in (-0.6, -0.5, -0.4, 4.9)] == [0, 0, 1, 2]
    assert build_axis("a", [1, 5]).nearest(0.0) == 0
    assert build_axis("a", [1, 16]).nearest(3.9) == 0
    assert build_axis("a", [1, 16]).nearest(4.1) == 1


def test_the_nearest_point_and_its_setting():
    grid = Grid((build_axis("a", [1, 4], upper=16), build_axis("b", [1, 2, 3])))
    assert grid.nearest({"b": 2.2, "a": 100}) == (1, 1)


def test_whole_axes():
    assert build_axis("a", [1.6, 0.4, 0.8], lower=0.1, upper=7) == Axis("a", (0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4), 2, 2)
    assert build_axis("b", [3]) == Axis("b", (3,), 0, 0) == Axis("b", (3,))
    assert build_axis("c", [1, 2], upper=5) == Axis("c", (1, 2, 4), 0, 1)
    assert build_axis("d", [2, 1], lower=0.3) == Axis("d", (0.5, 1, 2), 1, 0)


def test_small_values_end_at_their_limit_too():
    assert build_axis("lr", [2e-5, 4e-5], lower=1e-5, upper=8e-5).values == (1e-5, 2e-5, 4e-5, 8e-5)
    assert build_axis("lr", [2e-5, 4e-5], lower=1.1e-5, upper=7.9e-5).values == (2e-5, 4e-5)


def test_extensions_have_three_digits_and_meet_a_limit_that_is_rounded():
    assert build_axis("a", [1, 3], lower=1 / 3 * (1 + 1e-12), upper=27).values == (1, 3, 9, 27)
    assert build_axis("a", [1, 3], lower=0.333, upper=9).values == (0.333, 1, 3, 9)
    assert build_axis("a", [0.7, 1.0], upper=2.1).values == (0.7, 1.0, 1.43, 2.04)


def test_only_what_was_declared_is_not_extended():
    axis = Axis("a", (1, 2, 4, 8, 16), 1, 2)
    assert [axis.is_extended(index) for index in range(5)] == [True, False, False, True, True]
    assert [Axis("a", (1, 2)).is_extended(index) for index in range(2)] == [False, False]
    assert [axis.nearest(value) for value in (0.1, 3, 100)] == [1, 2, 2]


def test_values_below_one_are_compared_by_ratio_too():
    axis = build_axis("a", [0.1, 0.9])
    assert [axis.nearest(value) for value in (0.29, 0.3, 0.31, 0.4)] == [0, 0, 1, 1]
    assert [build_axis("a", [0.001, 10]).nearest(value) for value in (0.09, 0.11)] == [0, 1]
    assert [build_axis("a", [-4, 1]).nearest(value) for value in (-1.6, -1.4, 0)] == [0, 1, 1]


def test_every_step_of_a_point():
    grid = Grid((build_axis("a", [1, 2]), build_axis("b", [1, 2, 3]), build_axis("c", [1])))
    assert grid.steps((1, 1, 0)) == [
        Step(0, -1, (0, 1, 0)),
        Step(0, 1, None),
        Step(1, -1, (1, 0, 0)),
        Step(1, 1, (1, 2, 0)),
    ]
    assert grid.neighbours((1, 1, 0)) == [(0, 1, 0), (1, 0, 0), (1, 2, 0)]
    for point in ((0, 0), (0, 0, 0, 0)):
        with pytest.raises(ValueError, match="zip"):
            grid.setting(point)


def test_how_many_values_a_limit_may_bring():
    declared = [10.0**number for number in range(30)]
    assert len(build_axis("a", declared, lower=1e-17, upper=1e46).values) == 64
    for limits in ({"lower": 1e-17, "upper": 1e47}, {"lower": 1e-18, "upper": 1e46}):
        with pytest.raises(RecipeError, match=r"^more than 64 values up to the limits\n"):
            build_axis("a", declared, **limits)
