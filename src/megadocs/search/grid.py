"""The grid of a search: ordered values on each axis, the limits up to which an axis extends itself, neighbours.

    axis = build_axis("train.weight_decay", [0.4, 0.8, 1.6], lower=0.1, upper=6.4)
    axis.values           # (0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4): the declared ones, continued by the ratio at each end
    Grid((axis,)).neighbours((2,))

A grid is finite: the extension is computed once, up to the stated limits, and a walk pays for what it tries.
A point is a tuple of indices into `Axis.values`, one for each axis.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from megadocs.errors import RecipeError

Point = tuple[int, ...]

#: More values than this on one axis are a mistake in its limits.
_MAX_VALUES = 64


@dataclass(frozen=True, slots=True)
class Axis:
    """One setting that is searched."""

    name: str  # dotted key of the recipe
    values: tuple[float, ...]  # ascending; declared and extended
    num_below: int = 0  # how many values at the lower end are extensions
    num_above: int = 0  # how many at the upper end are

    def is_extended(self, index: int) -> bool:
        """Whether the value lies outside the declared ones."""
        return index < self.num_below or index >= len(self.values) - self.num_above

    def nearest(self, value: float) -> int:
        """Index of the declared value nearest to `value`, by ratio where both are positive; the lower one on a tie."""
        declared = range(self.num_below, len(self.values) - self.num_above)
        return min(declared, key=lambda index: (_distance(self.values[index], value), index))


def build_axis(name: str, values: Sequence[float], lower: float | None = None, upper: float | None = None) -> Axis:
    """An axis with its declared values, continued geometrically at each end up to a limit.

    Args:
        name: dotted key of the recipe.
        values: distinct finite numbers, in any order.
        lower: smallest value that the axis may extend to; None: it ends at the smallest declared one.
        upper: largest value that it may extend to; None: it ends at the largest declared one.

    Raises:
        RecipeError: no values, equal values, a limit inside the values, an extension that is not possible.
    """
    where = f"search.axes.{name}"
    declared = sorted(values)
    if not declared or len(set(declared)) != len(declared) or not all(map(math.isfinite, declared)):
        raise RecipeError("an axis has at least one value, all distinct and finite", where=f"{where}.values")
    below = _extension(declared[1::-1], lower, where=f"{where}.lower")
    above = _extension(declared[-2:], upper, where=f"{where}.upper")
    if len(below) + len(declared) + len(above) > _MAX_VALUES:
        raise RecipeError(f"more than {_MAX_VALUES} values up to the limits", where=where, remedy="narrow the limits")
    return Axis(name, (*reversed(below), *declared, *above), len(below), len(above))


@dataclass(frozen=True, slots=True)
class Step:
    """One grid step away from a point. `point` is None beyond the last value: there the point is on an edge."""

    axis: int
    direction: int
    point: Point | None


@dataclass(frozen=True, slots=True)
class Grid:
    """Axes and what follows from them."""

    axes: tuple[Axis, ...]

    @property
    def num_points(self) -> int:
        """Settings on the grid, extensions included."""
        return math.prod(len(axis.values) for axis in self.axes)

    @property
    def num_declared(self) -> int:
        """Settings on the declared grid."""
        return math.prod(len(axis.values) - axis.num_below - axis.num_above for axis in self.axes)

    def nearest(self, setting: Mapping[str, float]) -> Point:
        """The declared point nearest to a setting (axis name -> value), axis by axis."""
        return tuple(axis.nearest(setting[axis.name]) for axis in self.axes)

    def setting(self, point: Point) -> dict[str, float]:
        """Axis name -> value."""
        return {axis.name: axis.values[index] for axis, index in zip(self.axes, point, strict=True)}

    def steps(self, point: Point) -> list[Step]:
        """One step down and one up along each axis; axes with a single value have none: nothing is searched there."""
        found = []
        for index, axis in enumerate(self.axes):
            if len(axis.values) == 1:
                continue
            for direction in (-1, 1):
                value = point[index] + direction
                inside = 0 <= value < len(axis.values)
                target = (*point[:index], value, *point[index + 1 :]) if inside else None
                found.append(Step(index, direction, target))
        return found

    def neighbours(self, point: Point) -> list[Point]:
        """The points one step away that exist, axis by axis, lower first."""
        return [step.point for step in self.steps(point) if step.point is not None]


def _extension(last_two: Sequence[float], limit: float | None, *, where: str) -> list[float]:
    """Values past the end of `last_two`, by their ratio, up to the limit; three significant digits."""
    if limit is None:
        return []
    end, outward = last_two[-1], 1 if last_two[-1] >= last_two[0] else -1
    if len(last_two) < 2 or min(last_two) <= 0:
        raise RecipeError("an axis extends by the ratio of its last two values, both above 0", where=where)
    if (limit - end) * outward < 0 or limit <= 0:
        raise RecipeError(f"the limit {limit:g} lies inside the values", where=where, remedy=f"put it past {end:g}")
    ratio = end / last_two[0]
    found: list[float] = []
    while len(found) <= _MAX_VALUES:
        value = float(f"{(found or [end])[-1] * ratio:.3g}")
        if (limit - value) * outward < -1e-9 * abs(limit):
            break
        found.append(value)
    return found


def _distance(one: float, other: float) -> float:
    return abs(math.log(one / other)) if one > 0 and other > 0 else abs(one - other)
