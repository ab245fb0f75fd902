"""What a search will cost before it starts: at least so many runs, at most so many, with their tokens, FLOPs and time.

- At least: the start of every walk is its optimum, so its neighbours are tried once and few runs are repeated. What is
  finished in the workspace costs nothing.
- At most: every setting up to the axes' limits once with the first seed, and the repeats that one certificate can ask
  for, or `max_runs` if that is fewer; each the most expensive run of its arm, the most expensive arms first.

What a walk takes between the two depends on where its optimum lies: 20 runs of 216 settings on average over random
surfaces (docs/search.md). Trials that begin ahead on a slot that would idle may come on top of `max_runs`, one or two
an arm. Times come from `price/plan.py`.
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Container, Mapping
from dataclasses import dataclass
from pathlib import Path

from megadocs.errors import RecipeError
from megadocs.pipeline.price.corpus_sizes import CorpusSizes
from megadocs.pipeline.price.lines import Plan, PlanLine
from megadocs.pipeline.price.plan import build_plan, flops_per_token, plan_sizes, planned_experiment
from megadocs.pipeline.steps.experiment import CorpusFacts, Experiment, corpus_step
from megadocs.pipeline.steps.places import check_places
from megadocs.pipeline.tune.space import ArmSpace, build_spaces, trial_steps
from megadocs.recipe import Recipe
from megadocs.search import Point, Trial, cheapest_points, count_bounds

#: Settings that do not change what a run costs.
_FREE = {
    f"train.{name}"
    for name in ("learning_rate", "weight_decay", "warmup_fraction", "beta1", "beta2", "eps", "gradient_clip")
}


@dataclass(frozen=True, slots=True)
class Cost:
    """A number of runs with what they take; `seconds` is wall time with all slots busy."""

    num_runs: int
    num_tokens: int
    flops: float
    seconds: float


@dataclass(frozen=True, slots=True)
class SearchPrice:
    """The price of a search."""

    #: arm -> (fewest runs, settings of the declared grid, settings with all extensions).
    arms: Mapping[str, tuple[int, int, int]]
    #: `least`, `most`: see the module.
    least: Cost
    most: Cost
    shared_seconds: float  # corpus, generation and rows that are not there yet; in both
    num_slots: int  # steps side by side
    matched_tokens: Mapping[str, int]  # arm -> tokens of each of its runs, when the search matches compute; else empty
    rates: str  # where times come from, see `Plan`


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
    check_places(recipe)
    spaces = build_spaces(recipe)
    sizes = plan_sizes(recipe, root)
    is_matched = config.compute_matched_epochs is not None
    if is_matched:
        spaces = [space.with_real_tokens(_real_tokens(spaces, sizes)) for space in spaces]
    pricer = _PointPricer(recipe, root, num_slots, sizes, allow_code)
    near, plan = pricer.price([(s, p) for s in spaces for p in cheapest_points(s.grid, s.start)], new=False)
    every, _ = pricer.price([(s, p) for s in spaces for p in _points_by_cost(s)], new=True)
    shared = sum(line.seconds for line in plan.lines if _is_shared(line, near))
    arms = [_PricedArm.build(space, near, every, len(recipe.seeds)) for space in spaces]
    max_runs = max_runs or config.max_runs
    least = sorted((cost for arm in arms for cost in arm.least), key=lambda cost: cost.flops)
    most = sorted((cost for arm in arms for cost in arm.most), key=lambda cost: -cost.flops)
    return SearchPrice(
        arms={arm.space.arm.name: (arm.fewest, arm.space.grid.num_declared, arm.space.grid.num_points) for arm in arms},
        least=_total(least[:max_runs], shared),
        most=_total(most[:max_runs], shared),
        shared_seconds=shared,
        num_slots=plan.num_slots,
        matched_tokens={
            arm.space.arm.name: arm.highest.num_tokens for arm in arms if is_matched and arm.highest is not None
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
    """An arm with the cost of its runs."""

    space: ArmSpace
    fewest: int  # runs of its shortest walk
    near: list[Cost]  # of the start and its neighbours with the first seed; finished ones are free
    highest: Cost | None  # of a new run at the most expensive setting; None: no setting can be run
    num_repeats: int  # runs that one certificate can ask for beside the first seed's

    @classmethod
    def build(cls, space: ArmSpace, near: Mapping[str, Cost], every: Mapping[str, Cost], num_seeds: int) -> _PricedArm:
        """From the costs of settings by their label."""
        star = [space.label(point) for point in cheapest_points(space.grid, space.start)]
        kinds = [every[label] for label in map(space.label, _points_by_cost(space)) if label in every]
        return cls(
            space,
            count_bounds(space.grid, space.start, num_seeds)[0],
            [near[label] for label in star if label in near],
            max(kinds, key=lambda cost: cost.flops, default=None),
            min(1 + 2 * len(space.grid.axes), space.grid.num_points) * (num_seeds - 1),
        )

    @property
    def least(self) -> list[Cost]:
        """Runs of its shortest walk: the start is the optimum."""
        return self.near + self.near[: max(0, self.fewest - len(self.near))]

    @property
    def most(self) -> list[Cost]:
        """As many runs as it can take, each the most expensive."""
        return [] if self.highest is None else [self.highest] * (self.space.grid.num_points + self.num_repeats)


def _points_by_cost(space: ArmSpace) -> list[Point]:
    """One point for each combination of the axes that decide what a run costs, the other axes at the start."""
    axes = zip(space.grid.axes, space.start, strict=True)
    return list(itertools.product(*([here] if axis.name in _FREE else range(len(axis.values)) for axis, here in axes)))


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


def _total(costs: list[Cost], shared: float) -> Cost:
    return Cost(
        sum(cost.num_runs for cost in costs),
        sum(cost.num_tokens for cost in costs),
        sum(cost.flops for cost in costs),
        shared + sum(cost.seconds for cost in costs),
    )
