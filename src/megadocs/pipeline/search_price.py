"""What a search will cost before it starts: runs, tokens, FLOPs and hours, at best and at worst.

At best the start is the optimum: its neighbours are tried once, and few runs repeated; what is finished in the
workspace costs nothing. At worst the walk takes all the runs that it may (`max_runs`, else every setting with every
seed), and these are the dearest runs that it can reach: a run so many grid steps from the start comes after as many
rounds. On top come the guesses that may be in vain. Times come from `plan.py`: a probe, the workspace's own rates, or
another machine's.
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from megadocs.errors import RecipeError
from megadocs.pipeline.plan import Plan, build_plan, flops_per_token
from megadocs.pipeline.search_space import ArmSpace, build_spaces, trial_steps
from megadocs.pipeline.steps import CorpusFacts, corpus_step
from megadocs.recipe import Recipe, build_arms
from megadocs.search import Point, Trial, cheapest_points, count_bounds

#: Settings that do not change what a run costs.
_FREE = {
    f"train.{name}"
    for name in ("learning_rate", "weight_decay", "warmup_fraction", "beta1", "beta2", "eps", "gradient_clip")
}


@dataclass(frozen=True, slots=True)
class Cost:
    """A number of runs with what they take; `seconds` is wall time with all slots busy.

    `num_in_vain` more may be begun on a guess; tokens, FLOPs and seconds include them.
    """

    num_runs: int
    num_tokens: int
    flops: float
    seconds: float
    num_in_vain: int = 0


@dataclass(frozen=True, slots=True)
class SearchPrice:
    """The price of a search.

    Attributes:
        arms: arm -> (fewest runs, settings of the declared grid, settings with all extensions).
        best, worst: see the module.
        shared_seconds: corpus, generation and rows that are not there yet; in both bounds.
        num_slots: steps side by side.
        matched_tokens: arm -> tokens of each of its runs, when the search matches compute; else empty.
        rates: where times come from, see `Plan`.
    """

    arms: Mapping[str, tuple[int, int, int]]
    best: Cost
    worst: Cost
    shared_seconds: float
    num_slots: int
    matched_tokens: Mapping[str, int]
    rates: str

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
    config = recipe.search
    if config is None:
        raise RecipeError("the recipe has no section `search`", where="search", remedy="add axes; see docs/search.md")
    spaces = build_spaces(recipe)
    stars = {space.arm.name: cheapest_points(space.grid, space.start) for space in spaces}
    near, plan = _price_points(recipe, root, num_slots, [(s, p) for s in spaces for p in stars[s.arm.name]], new=False)
    kinds = {space.arm.name: _points_by_cost(space) for space in spaces}
    every, _ = _price_points(recipe, root, num_slots, [(s, p) for s in spaces for p in kinds[s.arm.name]], new=True)
    shared = sum(line.seconds for line in plan.lines if line.kind not in ("train", "evaluate"))
    reachable = [
        (
            space,
            [
                (every[space.label(p)], _distance(space.start, p))
                for p in kinds[space.arm.name]
                if space.label(p) in every
            ],
        )
        for space in spaces
    ]
    max_runs = max_runs or config.max_runs
    matched = config.compute_matched_epochs is not None
    return SearchPrice(
        arms={
            space.arm.name: (_fewest(space, recipe), space.grid.num_declared, space.grid.num_points) for space in spaces
        },
        best=_best(spaces, near, recipe, shared),
        worst=_worst(reachable, recipe, shared, max_runs),
        shared_seconds=shared,
        num_slots=plan.num_slots,
        matched_tokens={s.arm.name: max(c.num_tokens for c, _ in found) for s, found in reachable if found and matched},
        rates=plan.rates,
    )


def _price_points(
    recipe: Recipe, root: Path, num_slots: int | None, points: list[tuple[ArmSpace, Point]], *, new: bool
) -> tuple[dict[str, Cost], Plan]:
    """The cost of one run at each possible point, by label; `new`: with a seed that no run has had."""
    arms = {
        space.label(point): space.overrides_at(point) for space, point in points if _is_possible(recipe, space, point)
    }
    seed = max(recipe.seeds) + 1_000_003 if new else recipe.seeds[0]
    priced = recipe.model_copy(update={"arms": arms, "seeds": [seed], "ensembles": {}})
    plan = build_plan(priced, root, num_slots)
    return _costs(priced, plan), plan


def _points_by_cost(space: ArmSpace) -> list[Point]:
    """One point for each combination of the axes that decide what a run costs, the other axes at the start."""
    axes = zip(space.grid.axes, space.start, strict=True)
    return list(itertools.product(*([here] if axis.name in _FREE else range(len(axis.values)) for axis, here in axes)))


def _distance(one: Point, other: Point) -> int:
    return sum(abs(a - b) for a, b in zip(one, other, strict=True))


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
    reachable: list[tuple[ArmSpace, list[tuple[Cost, int]]]], recipe: Recipe, shared: float, max_runs: int | None
) -> Cost:
    """The dearest runs that the walks can reach, the dearest arm first, and guesses in vain as dear as the dearest."""
    config = recipe.search
    assert config is not None
    ordered = sorted(reachable, key=lambda pair: -max((cost.flops for cost, _ in pair[1]), default=0.0))
    taken: list[Cost] = []
    for space, kinds in ordered:
        most = count_bounds(space.grid, space.start, len(recipe.seeds))[1]
        left = most if max_runs is None else min(most, max_runs - len(taken))
        per_kind = most // max(1, len(_points_by_cost(space)))
        taken += _dearest(kinds, per_kind, left, config.round_size)
    may_guess = config.guess_fraction > 0 and config.stop_hopeless is None
    num_in_vain = max(1, int(config.guess_fraction * len(taken))) if may_guess and taken else 0
    dearest = max(taken, key=lambda cost: cost.flops, default=Cost(0, 0, 0.0, 0.0))
    total = _total([*taken, *([dearest] * num_in_vain)], shared)
    return replace(total, num_runs=len(taken), num_in_vain=num_in_vain)


def _dearest(kinds: list[tuple[Cost, int]], per_kind: int, num_runs: int, round_size: int) -> list[Cost]:
    """So many runs, each the dearest that is left among those near enough for its round; `per_kind` of each kind."""
    ordered = sorted(kinds, key=lambda kind: -kind[0].flops)
    left = [per_kind] * len(ordered)
    taken = []
    for number in range(num_runs):
        rounds = -(-number // round_size)
        for place, (cost, distance) in enumerate(ordered):
            if left[place] and distance <= rounds:
                left[place] -= 1
                taken.append(cost)
                break
    return taken


def _fewest(space: ArmSpace, recipe: Recipe) -> int:
    return count_bounds(space.grid, space.start, len(recipe.seeds))[0]


def _total(costs: list[Cost], shared: float) -> Cost:
    return Cost(
        sum(cost.num_runs for cost in costs),
        sum(cost.num_tokens for cost in costs),
        sum(cost.flops for cost in costs),
        shared + sum(cost.seconds for cost in costs),
    )
