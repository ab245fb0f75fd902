"""What a search will cost before it starts: runs, tokens, FLOPs and hours, at best, as expected, and at worst.

- At best the start is the optimum: its neighbours are tried once, and few runs repeated; what is finished in the
  workspace costs nothing.
- Expected is the mean of searches played on made-up surfaces (`search/forecast.py`) whose optimum lies anywhere on the
  declared values.
- At worst the walks go wherever runs are dearest, as far as the axes' limits and `max_runs` let them: distinct
  settings, each once with the first seed, and once the repeats that one certificate can ask for. A setting so many grid
  steps from the start comes after as many rounds, and the walks take turns: every arm has its fair share of the budget,
  or what its shortest walk takes, before the dearest has the rest.

On top come guesses: in vain as often as was measured (expected), as often as they may be (worst). Times come from
`plan.py`: a probe, the workspace's own rates, or another machine's.
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Container, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from megadocs.errors import RecipeError
from megadocs.pipeline.price.corpus_sizes import CorpusSizes
from megadocs.pipeline.price.lines import Plan, PlanLine
from megadocs.pipeline.price.plan import build_plan, flops_per_token, plan_sizes, planned_experiment
from megadocs.pipeline.steps.experiment import CorpusFacts, Experiment, corpus_step
from megadocs.pipeline.tune.space import ArmSpace, build_spaces, trial_steps
from megadocs.recipe import Recipe, SearchConfig
from megadocs.search import LocalWalk, Point, Trial, cheapest_points, count_bounds, play_searches

#: Searches that are played for what to expect, and guesses in vain for each run (benchmarks/bench_search.py).
_NUM_PLAYED, _IN_VAIN = 20, 0.12
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

    def scaled(self, factor: float) -> Cost:
        """So many times as much of everything, without guesses."""
        counts = round(self.num_runs * factor), round(self.num_tokens * factor)
        return Cost(*counts, self.flops * factor, self.seconds * factor)


@dataclass(frozen=True, slots=True)
class SearchPrice:
    """The price of a search.

    Attributes:
        arms: arm -> (fewest runs, settings of the declared grid, settings with all extensions).
        best, expected, worst: see the module.
        shared_seconds: corpus, generation and rows that are not there yet; in all of them.
        num_slots: steps side by side.
        matched_tokens: arm -> tokens of each of its runs, when the search matches compute; else empty.
        rates: where times come from, see `Plan`.
    """

    arms: Mapping[str, tuple[int, int, int]]
    best: Cost
    expected: Cost
    worst: Cost
    shared_seconds: float
    num_slots: int
    matched_tokens: Mapping[str, int]
    rates: str

    def to_json(self) -> dict[str, Any]:
        """For `--json`."""
        return asdict(self)


def price_search(
    recipe: Recipe,
    root: Path,
    *,
    num_slots: int | None = None,
    max_runs: int | None = None,
    allow_code: bool = False,
) -> SearchPrice:
    """Price the recipe's search in a workspace; starts nothing, writes nothing.

    Raises:
        MegadocsError: what would fail at the start anyway.
    """
    config = recipe.search
    if config is None:
        raise RecipeError("the recipe has no section `search`", where="search", remedy="add axes; see docs/search.md")
    spaces = build_spaces(recipe)
    sizes = plan_sizes(recipe, root, num_slots)
    if config.compute_matched_epochs is not None:
        spaces = [space.with_real_tokens(_real_tokens(spaces, sizes)) for space in spaces]
    pricer = _PointPricer(recipe, root, num_slots, sizes, allow_code)
    near, plan = pricer.price([(s, p) for s in spaces for p in cheapest_points(s.grid, s.start)], new=False)
    every, _ = pricer.price([(s, p) for s in spaces for p in _points_by_cost(s)], new=True)
    shared = sum(line.seconds for line in plan.lines if _is_shared(line, near))
    priced = [_PricedArm.build(space, near, every, recipe) for space in spaces]
    max_runs = max_runs or config.max_runs
    matched = config.compute_matched_epochs is not None
    return SearchPrice(
        arms={
            arm.space.arm.name: (arm.fewest, arm.space.grid.num_declared, arm.space.grid.num_points) for arm in priced
        },
        best=_best(priced, shared, max_runs),
        expected=_expected(priced, recipe, shared, max_runs),
        worst=_worst(priced, recipe, shared, max_runs),
        shared_seconds=shared,
        num_slots=plan.num_slots,
        matched_tokens={
            arm.space.arm.name: max(cost.num_tokens for cost, _ in arm.kinds) for arm in priced if matched and arm.kinds
        },
        rates=plan.rates,
    )


def _real_tokens(spaces: list[ArmSpace], sizes: CorpusSizes) -> dict[int, int]:
    """Real multiple -> tokens of its documents, estimated."""
    multiples = {number for space in spaces for number in space.real_multiples}
    return {number: round(sizes.train_tokens(number)) for number in {1, *multiples} if sizes.has_multiple(number)}


@dataclass(frozen=True, slots=True)
class _PointPricer:
    """Prices settings by a plan in which each is an arm."""

    recipe: Recipe
    root: Path
    num_slots: int | None
    sizes: CorpusSizes
    allow_code: bool

    def price(self, points: list[tuple[ArmSpace, Point]], *, new: bool) -> tuple[dict[str, Cost], Plan]:
        """The cost of one run at each possible point, by label; `new`: with a seed that no run has had, alone."""
        recipe = self.recipe
        arms = {
            space.label(point): space.overrides_at(point)
            for space, point in points
            if _is_possible(recipe, space, point, allow_code=self.allow_code)
        }
        seed = max(recipe.seeds) + 1_000_003 if new else recipe.seeds[0]
        priced = recipe.model_copy(update={"arms": arms, "seeds": [seed], "ensembles": {}})
        only = ("train", "evaluate") if new else None
        plan = build_plan(
            priced, self.root, self.num_slots, sizes=self.sizes, only=only, whole=recipe, allow_code=self.allow_code
        )
        return _costs(planned_experiment(priced, self.sizes, recipe, allow_code=self.allow_code), plan), plan


@dataclass(frozen=True, slots=True)
class _PricedArm:
    """An arm with the cost of its runs.

    Attributes:
        space: what is searched.
        fewest: runs of its shortest walk.
        near: the start and its neighbours -> cost of a run with the first seed; finished ones are free.
        by_kind: settings of the cost-deciding axes -> cost of a new run there.
        kinds: (cost, rounds until it can be reached) of each of these, the dearest first.
        per_kind: settings of each kind.
        num_repeats: runs that one certificate can ask for beside the first seed's.
    """

    space: ArmSpace
    fewest: int
    near: Mapping[Point, Cost]
    by_kind: Mapping[Point, Cost]
    kinds: list[tuple[Cost, int]]
    per_kind: int
    num_repeats: int

    @classmethod
    def build(cls, space: ArmSpace, near: Mapping[str, Cost], every: Mapping[str, Cost], recipe: Recipe) -> _PricedArm:
        """From costs by label."""
        points = _points_by_cost(space)
        by_kind = {point: every[space.label(point)] for point in points if space.label(point) in every}
        kinds = [(cost, _distance(space.start, point)) for point, cost in by_kind.items()]
        star = cheapest_points(space.grid, space.start)
        return cls(
            space,
            count_bounds(space.grid, space.start, len(recipe.seeds))[0],
            {point: near[space.label(point)] for point in star if space.label(point) in near},
            by_kind,
            sorted(kinds, key=lambda kind: -kind[0].flops),
            space.grid.num_points // len(points),
            min(1 + 2 * len(space.grid.axes), space.grid.num_points) * (len(recipe.seeds) - 1),
        )

    @property
    def num_runs(self) -> int:
        """All settings once, and the repeats of one certificate."""
        return self.space.grid.num_points + self.num_repeats

    def best(self) -> list[Cost]:
        """Its shortest walk: the start is the optimum."""
        star = list(self.near.values())
        return star + star[: max(0, self.fewest - len(star))]

    def cost_of(self, trial: Trial, first_seed: int) -> Cost | None:
        """Of one run; None where there can be none."""
        if trial.seed == first_seed and trial.point in self.near:
            return self.near[trial.point]
        axes = zip(self.space.grid.axes, trial.point, self.space.start, strict=True)
        return self.by_kind.get(tuple(start if axis.name in _FREE else here for axis, here, start in axes))

    def dearest(self, num_runs: int, num_in_vain: int, round_size: int) -> list[Cost]:
        """So many runs, each the dearest that is left among those near enough for its round; then guesses."""
        left = [self.per_kind] * len(self.kinds)
        repeats = self.num_repeats
        taken: list[Cost] = []
        nearest = min((distance for _, distance in self.kinds), default=0)  # 0 unless the start is impossible
        for number in range(num_runs + num_in_vain if self.kinds else 0):
            rounds = max(nearest, -(-number // round_size))
            reachable = [place for place, (_, distance) in enumerate(self.kinds) if distance <= rounds]
            place = next((place for place in reachable if left[place]), None)
            if number and repeats and (place is None or place > reachable[0]):
                repeats -= 1  # of the dearest settings that there are
                taken.append(self.kinds[reachable[0]][0])
            elif place is not None:
                left[place] -= 1
                taken.append(self.kinds[place][0])
        return taken


def _points_by_cost(space: ArmSpace) -> list[Point]:
    """One point for each combination of the axes that decide what a run costs, the other axes at the start."""
    axes = zip(space.grid.axes, space.start, strict=True)
    return list(itertools.product(*([here] if axis.name in _FREE else range(len(axis.values)) for axis, here in axes)))


def _distance(one: Point, other: Point) -> int:
    return sum(abs(a - b) for a, b in zip(one, other, strict=True))


def _is_possible(recipe: Recipe, space: ArmSpace, point: Point, *, allow_code: bool) -> bool:
    """Whether a run can have this setting, on a corpus that is large enough."""
    trial = Trial(point, recipe.seeds[0])
    digests = dict.fromkeys(recipe.published.datasets if recipe.published else (), "any")
    corpus, facts = corpus_step(recipe, "any", digests), CorpusFacts(num_train_1x=1, max_multiple=sys.maxsize)
    return bool(trial_steps(recipe, [(space, trial)], corpus, facts, allow_code=allow_code).runs)


def _is_shared(line: PlanLine, priced: Container[str]) -> bool:
    """Whether all trials need the step: the data, and teachers that write samples."""
    return line.kind not in ("train", "evaluate", "report") or (line.kind == "train" and line.arm not in priced)


def _costs(experiment: Experiment, plan: Plan) -> dict[str, Cost]:
    """The cost of one run of each priced arm; a finished one is free. Arms with the same setting share their steps."""
    lines = {line.fingerprint: line for line in plan.lines if line.kind in ("train", "evaluate")}
    costs = {}
    for run in experiment.runs:
        line, scoring = lines[run.train.fingerprint], lines.get(run.evaluate.fingerprint)
        tokens = line.num_tokens or 0
        seconds = line.seconds * line.slots + (scoring.seconds * scoring.slots if scoring is not None else 0.0)
        flops = tokens * flops_per_token(run.arm.recipe)
        costs[run.arm.name] = Cost(int(line.status != "done"), tokens, flops, seconds / plan.num_slots)
    return costs


def _best(priced: list[_PricedArm], shared: float, max_runs: int | None) -> Cost:
    """The shortest walks; of a smaller budget, their cheapest runs."""
    costs = sorted((cost for arm in priced for cost in arm.best()), key=lambda cost: cost.flops)
    return _total(costs[:max_runs], shared)


def _expected(priced: list[_PricedArm], recipe: Recipe, shared: float, max_runs: int | None) -> Cost:
    """The mean of played searches."""
    config = recipe.search
    assert config is not None
    walks = [
        LocalWalk(arm.space.grid, arm.space.start, recipe.seeds, config.confidence, config.round_size) for arm in priced
    ]
    totals = []
    for trials in play_searches(walks, seeds=recipe.seeds, max_runs=max_runs, num_draws=_NUM_PLAYED):
        costs = [priced[number].cost_of(trial, recipe.seeds[0]) for number, trial in trials]
        totals.append(_total([cost for cost in costs if cost is not None], 0.0))
    mean = _total(totals, 0.0).scaled(1 / _NUM_PLAYED)
    in_vain = round(_IN_VAIN * mean.num_runs) if _may_guess(config) else 0
    total = mean.scaled(1 + in_vain / max(1, mean.num_runs))
    return replace(total, num_runs=mean.num_runs, num_in_vain=in_vain, seconds=shared + total.seconds)


def _worst(priced: list[_PricedArm], recipe: Recipe, shared: float, max_runs: int | None) -> Cost:
    """The dearest runs that the walks can reach, and guesses in vain, the dearest that are left."""
    config = recipe.search
    assert config is not None
    ordered = sorted(priced, key=lambda arm: -max((cost.flops for cost, _ in arm.kinds), default=0.0))
    taken: list[Cost] = []
    num_runs = num_in_vain = 0
    for number, arm in enumerate(ordered):
        most = arm.num_runs
        if max_runs is not None:
            share = max_runs // len(ordered)
            kept = sum(min(other.fewest, share) for other in ordered[number + 1 :])
            most = max(0, min(most, max_runs - num_runs - kept))
        guesses = int(config.guess_fraction * most) if _may_guess(config) else 0
        taken += arm.dearest(most, guesses, config.round_size)
        num_runs, num_in_vain = num_runs + most, num_in_vain + guesses
    return replace(_total(taken, shared), num_runs=num_runs, num_in_vain=num_in_vain)


def _may_guess(config: SearchConfig) -> bool:
    return config.guess_fraction > 0 and config.stop_hopeless is None


def _total(costs: list[Cost], shared: float) -> Cost:
    return Cost(
        sum(cost.num_runs for cost in costs),
        sum(cost.num_tokens for cost in costs),
        sum(cost.flops for cost in costs),
        shared + sum(cost.seconds for cost in costs),
    )
