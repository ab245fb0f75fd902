"""What a search will cost before it starts: runs, tokens, FLOPs and hours, at best and at worst.

At best the start is the optimum: its neighbours are tried once, and few runs repeated. At worst the search takes all
the runs that it may (`max_runs`, else every setting with every seed), each as dear as the grid's dearest corner. What
is finished in the workspace costs nothing. Times come from `plan.py`: the workspace's own rates where it has any.
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from megadocs.pipeline.plan import Plan, build_plan, flops_per_token
from megadocs.pipeline.search_space import ArmSpace, build_spaces, trial_steps
from megadocs.pipeline.steps import CorpusFacts, corpus_step
from megadocs.recipe import Recipe, build_arms
from megadocs.search import Grid, Point, Trial, cheapest_points, count_bounds


@dataclass(frozen=True, slots=True)
class Cost:
    """A number of runs with what they take; `seconds` is wall time with all slots busy."""

    num_runs: int
    num_tokens: int
    flops: float
    seconds: float


@dataclass(frozen=True, slots=True)
class SearchPrice:
    """The price of a search.

    Attributes:
        arms: arm -> (fewest runs, settings of the declared grid, settings with all extensions).
        best, worst: see the module.
        shared_seconds: corpus, generation and rows that are not there yet; in both bounds.
        num_slots: steps side by side.
    """

    arms: Mapping[str, tuple[int, int, int]]
    best: Cost
    worst: Cost
    shared_seconds: float
    num_slots: int

    def to_json(self) -> dict[str, Any]:
        """For `--json`."""
        return asdict(self)


def price_search(
    recipe: Recipe, root: Path, *, num_slots: int | None = None, max_runs: int | None = None
) -> SearchPrice:
    """Price the recipe's search in a workspace; starts nothing, writes nothing.

    Raises:
        MegadocsError: what would fail at the start anyway.
    """
    assert recipe.search is not None
    spaces = build_spaces(recipe)
    arms: dict[str, dict[str, Any]] = {}
    for space in spaces:
        for point in dict.fromkeys([*cheapest_points(space.grid, space.start), *_corners(space.grid)]):
            if _is_possible(recipe, space, point):
                arms[space.label(point)] = space.overrides_at(point)
    priced = recipe.model_copy(update={"arms": arms, "seeds": recipe.seeds[:1]})
    plan = build_plan(priced, root, num_slots)
    costs = _costs(priced, plan)
    shared = sum(line.seconds for line in plan.lines if line.kind not in ("train", "evaluate"))
    max_runs = max_runs or recipe.search.max_runs
    return SearchPrice(
        arms={
            space.arm.name: (_fewest(space, recipe), space.grid.num_declared, space.grid.num_points) for space in spaces
        },
        best=_best(spaces, costs, recipe, shared),
        worst=_worst(spaces, costs, recipe, shared, max_runs),
        shared_seconds=shared,
        num_slots=plan.num_slots,
    )


def _is_possible(recipe: Recipe, space: ArmSpace, point: Point) -> bool:
    """Whether a run can have this setting, on a corpus that is large enough."""
    trial = Trial(point, recipe.seeds[0])
    digests = dict.fromkeys(recipe.published.datasets if recipe.published else (), "any")
    corpus, facts = corpus_step(recipe, "any", digests), CorpusFacts(num_train_1x=1, max_multiple=sys.maxsize)
    return bool(trial_steps(recipe, [(space, trial)], corpus, facts, allow_code=True).runs)


def _costs(recipe: Recipe, plan: Plan) -> dict[str, Cost]:
    """The cost of one run of each priced arm; a finished one is free."""
    arms = {arm.name: arm.recipe for arm in build_arms(recipe)}
    lines = {line.arm: line for line in plan.lines if line.kind == "train" and line.arm}
    scoring = {line.arm: line.seconds * line.slots for line in plan.lines if line.kind == "evaluate" and line.arm}
    costs = {}
    for name, line in lines.items():
        tokens = line.num_tokens or 0
        seconds = (line.seconds * line.slots + scoring.get(name, 0.0)) / plan.num_slots
        costs[name] = Cost(int(line.status != "done"), tokens, tokens * flops_per_token(arms[name]), seconds)
    return costs


def _best(spaces: list[ArmSpace], costs: Mapping[str, Cost], recipe: Recipe, shared: float) -> Cost:
    """Every arm starts at its optimum."""
    taken = []
    for space in spaces:
        star = [costs[label] for label in map(space.label, cheapest_points(space.grid, space.start)) if label in costs]
        repeats = max(0, _fewest(space, recipe) - len(star))
        taken += star + star[:repeats]
    return _total(taken, shared)


def _worst(
    spaces: list[ArmSpace], costs: Mapping[str, Cost], recipe: Recipe, shared: float, max_runs: int | None
) -> Cost:
    """All runs there may be, each as dear as the arm's dearest; the dearest arms first."""
    taken: list[tuple[Cost, int]] = []
    for space in spaces:
        known = [costs[label] for label in map(space.label, _corners(space.grid)) if label in costs]
        if known:
            dearest = max(known, key=lambda cost: cost.flops)
            taken.append((dearest, count_bounds(space.grid, space.start, len(recipe.seeds))[1]))
    taken.sort(key=lambda pair: -pair[0].flops)
    left = max_runs if max_runs is not None else sum(number for _, number in taken)
    total = Cost(0, 0, 0.0, shared)
    for cost, number in taken:
        number = min(number, left)
        left -= number
        total = Cost(
            total.num_runs + number,
            total.num_tokens + number * cost.num_tokens,
            total.flops + number * cost.flops,
            total.seconds + number * cost.seconds,
        )
    return total


def _fewest(space: ArmSpace, recipe: Recipe) -> int:
    return count_bounds(space.grid, space.start, len(recipe.seeds))[0]


def _total(costs: list[Cost], shared: float) -> Cost:
    return Cost(
        sum(cost.num_runs for cost in costs),
        sum(cost.num_tokens for cost in costs),
        sum(cost.flops for cost in costs),
        shared + sum(cost.seconds for cost in costs),
    )


def _corners(grid: Grid) -> list[Point]:
    """The settings at the ends of all axes."""
    return list(itertools.product(*(dict.fromkeys((0, len(axis.values) - 1)) for axis in grid.axes)))
