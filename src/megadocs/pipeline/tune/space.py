"""From the recipe's section `search` to the grid of each arm, and from a trial to the steps that train and score it.

A trial is an arm's overrides, a point of its grid on top, and a seed: the same train and evaluate steps as any other
arm's (`steps/`), with the same fingerprints. So a search reuses every run ever made in the workspace, and `megadocs
run` with the setting that it found reuses the search's.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

from megadocs.errors import ConsentError, RecipeError, UsageError
from megadocs.pipeline.steps.experiment import CorpusFacts, Run, build_experiment
from megadocs.pipeline.steps.step import Step
from megadocs.pipeline.tune.matched_compute import MatchedCompute
from megadocs.pipeline.tune.start import paper_start
from megadocs.recipe import Arm, Recipe, SearchConfig, build_arms
from megadocs.recipe.references import axis_applies, number_at, searched_arms
from megadocs.search import Grid, Point, Trial, build_axis
from megadocs.streams import REAL_STREAM

_FRACTION = "mixture.synthetic_fraction"
_EPOCHS = "train.real_epochs"
_MULTIPLE = "mixture.real_multiple"


@dataclass(frozen=True, slots=True)
class ArmSpace:
    """What is searched for one arm."""

    arm: Arm  # with its recipe as it stands
    grid: Grid
    start: Point
    overrides: Mapping[str, Any]  # the arm's own, dotted key -> value
    #: what all runs have in common when compute is matched (`SearchConfig.compute_matched_epochs`), or None.
    matched: MatchedCompute | None

    def overrides_at(self, point: Point) -> dict[str, Any]:
        """Dotted key -> value of a trial: the arm's, then the point's, then the epochs that match the compute."""
        values: dict[str, Any] = dict(self.overrides) | self.grid.setting(point)
        epochs = self.matched_epochs(point)
        return values if epochs is None else values | {_EPOCHS: epochs}

    def matched_epochs(self, point: Point) -> float | None:
        """The real epochs that match the compute of the others; None when it is not matched."""
        if self.matched is None:
            return None
        recipe, values = self.arm.recipe, self.grid.setting(point)
        fraction = Decimal(repr(values[_FRACTION])) if _FRACTION in values else recipe.mixture.synthetic_fraction
        if fraction == 1:
            raise RecipeError(
                "the compute of an arm without real windows cannot be matched by epochs over real documents",
                where=f"arms.{self.arm.name}.{_FRACTION}",
                remedy="leave the arm out (search.arms) or lower the fraction",
            )
        return self.matched.real_epochs(
            multiple=int(values.get(_MULTIPLE, recipe.mixture.real_multiple)),
            fraction=fraction,
            batch_size=int(values.get("train.batch_size", recipe.train.batch_size)),
            context_length=int(values.get("train.context_length", recipe.train.context_length)),
            max_windows=recipe.mixture.max_windows.get(REAL_STREAM),
        )

    @property
    def real_multiples(self) -> set[int]:
        """Those that its settings have."""
        axes = [axis for axis in self.grid.axes if axis.name == _MULTIPLE]
        return {int(value) for axis in axes for value in axis.values} or {self.arm.recipe.mixture.real_multiple}

    def with_real_tokens(self, real_tokens: Mapping[int, int]) -> ArmSpace:
        """The same space once the tokens of its documents are counted (real multiple -> tokens)."""
        matched = replace(self.matched, real_tokens=real_tokens) if self.matched is not None else None
        return replace(self, matched=matched)

    def label(self, point: Point) -> str:
        """For people: `stitched real_epochs=8 learning_rate=0.003`."""
        setting = self.grid.setting(point).items()
        return " ".join([self.arm.name, *(f"{name.rpartition('.')[2]}={value:g}" for name, value in setting)])


def build_spaces(recipe: Recipe) -> list[ArmSpace]:
    """The searched arms, in the recipe's order.

    Raises:
        RecipeError: no section `search`, an unknown field, a start that is missing.
    """
    config = recipe.search
    if config is None:
        raise RecipeError("the recipe has no section `search`", where="search", remedy="add axes; see docs/search.md")
    if config.compute_matched_epochs is not None and _EPOCHS in config.axes:
        raise RecipeError(
            f"compute_matched_epochs sets {_EPOCHS}", where=f"search.axes.{_EPOCHS}", remedy="take the axis out"
        )
    arms = searched_arms(config, build_arms(recipe))
    return [_space(arm, config, recipe.arms.get(arm.name, {})) for arm in arms]


@dataclass(frozen=True, slots=True)
class TrialSteps:
    """What some trials need."""

    runs: Mapping[tuple[str, Trial], Run]  # (arm name, trial) -> its steps
    impossible: Mapping[tuple[str, Trial], str]  # (arm name, trial) -> why there can be no such run
    steps: tuple[Step, ...]  # all steps in the order of priority, each once


def trial_steps(
    recipe: Recipe,
    trials: Iterable[tuple[ArmSpace, Trial]],
    corpus: Step,
    facts: CorpusFacts,
    *,
    allow_code: bool = False,
) -> TrialSteps:
    """The steps of some trials. A setting that no run can have (3 heads in a width of 16) is its trial's failure.

    Args:
        trials: with the space of their arm.
    """
    runs: dict[tuple[str, Trial], Run] = {}
    impossible: dict[tuple[str, Trial], str] = {}
    steps: dict[str, Step] = {}
    for space, trial in trials:
        arms = {space.label(trial.point): space.overrides_at(trial.point)}
        losses_only = recipe.evaluate.model_copy(
            update={"sets": {}, "benchmarks": [], "benchmark_data": {}, "gate": False}
        )
        own = {"arms": arms, "seeds": [trial.seed], "ensembles": {}, "evaluate": losses_only}
        alone = recipe.model_copy(update=own)
        try:
            experiment = build_experiment(alone, corpus, facts, allow_code=allow_code, whole=recipe)
        except ConsentError:
            raise
        except UsageError as error:
            impossible[space.arm.name, trial] = str(error.what)
            continue
        if not experiment.runs:
            impossible[space.arm.name, trial] = next(iter(experiment.left_out.values()))
            continue
        runs[space.arm.name, trial] = experiment.runs[0]
        for step in experiment.steps:
            steps.setdefault(f"{step.kind}/{step.fingerprint}", step)
    shared = [step for step in steps.values() if step.kind not in ("train", "evaluate")]
    own_steps = [step for step in steps.values() if step.kind in ("train", "evaluate")]
    return TrialSteps(runs, impossible, (*shared, *own_steps))


def _space(arm: Arm, config: SearchConfig, overrides: Mapping[str, Any]) -> ArmSpace:
    axes, start = [], {}
    given = paper_start(arm.recipe, arm.name) if config.start == "paper" else config.start
    for name, axis in config.axes.items():
        if not axis_applies(arm, name, axis):
            continue
        own = number_at(arm.recipe, name, where=f"search.axes.{name}")
        axes.append(build_axis(name, axis.values, axis.lower, axis.upper))
        begin = given.get(name, own)
        if begin is None:
            raise RecipeError(
                f"where does the walk begin on {name}?", where=f"search.start.{name}", remedy="give a value"
            )
        start[name] = float(begin)
    if not axes:
        raise RecipeError(f"no axis applies to the arm {arm.name!r}", where="search.axes", remedy="see search.arms")
    grid = Grid(tuple(axes))
    matched = MatchedCompute(config.compute_matched_epochs) if config.compute_matched_epochs is not None else None
    return ArmSpace(arm, grid, grid.nearest(start), overrides, matched)
