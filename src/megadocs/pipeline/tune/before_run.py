"""Tuning before a run: a bounded walk for the baseline, each arm of the real-only curve and one synthetic arm.

    tuning = tune_recipe(recipe, root, corpus, executor)
    tuning.recipe            # its arms with the settings that were found; `tune` is off in it

A multiplier over a baseline with somebody else's settings measures these settings, and shuffled words are then worth
nearly as much as the rephrases. So `tune` walks (search/, first seed, validation) before the
reported arms are trained. Synthetic arms that are not walked take the setting of the one that was. What is published
costs a look-up: running again walks the same path and trains nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from megadocs.errors import RecipeError
from megadocs.kinds import ordering_names, ordering_spec
from megadocs.pipeline.execute.executor import Executor
from megadocs.pipeline.price.plan import plan_sizes
from megadocs.pipeline.steps.sources import corpus_facts
from megadocs.pipeline.tune.driver import search_arms
from megadocs.pipeline.tune.results import SearchOutcome
from megadocs.pipeline.tune.standing import Watcher
from megadocs.pipeline.tune.student import corpus_tokens, with_student
from megadocs.recipe import Arm, Recipe, TuneBudget, build_arms
from megadocs.recipe.references import follows_tokens
from megadocs.store.artifact import Artifact

#: Trials for each walked arm with `tune: auto`: a certificate over three axes takes 7 where the start is the optimum,
#: and two for each step on the way there.
AUTO_RUNS_PER_ARM = 12


@dataclass(frozen=True, slots=True)
class Tuning:
    """A tuned recipe, and the search that tuned it (None: `tune` was off)."""

    recipe: Recipe
    outcome: SearchOutcome | None


def tune_recipe(
    recipe: Recipe,
    root: Path,
    corpus: Artifact,
    executor: Executor,
    *,
    watcher: Watcher | None = None,
    allow_code: bool = False,
) -> Tuning:
    """Walk, and set the arms as found.

    Args:
        recipe: with `tune` and the student that it trains (`with_student`).
        corpus: published; arms that need more real documents than it has are not walked.
        executor: stays open.

    Raises:
        RecipeError: no arm that this corpus can serve is to be tuned, or an axis fits no arm.
        MegadocsError: what every trial would meet again (engine, disk, consent); single trials that fail are counted.
    """
    if recipe.tune == "off":
        return Tuning(recipe, None)
    planned = planned_search(recipe, corpus_facts(corpus).max_multiple)
    assert planned.search is not None
    outcome = search_arms(
        planned,
        root,
        executor,
        max_runs=planned.search.max_runs,
        max_hours=planned.search.max_hours,
        watcher=watcher,
        allow_code=allow_code,
    )
    return Tuning(_with_settings(recipe, outcome), outcome)


def plan_tuning(recipe: Recipe, root: Path) -> tuple[Recipe, Recipe | None]:
    """Before anything runs: the recipe with its student, and the search of its tuning or of its own, if it has one."""
    if follows_tokens(recipe):
        sizes = plan_sizes(recipe, root)
        if sizes.documents is not None:
            num_tokens = corpus_tokens(sizes.documents.train_multiple(1))
        else:
            num_tokens = sizes.train_tokens(1)
        recipe = with_student(recipe, num_tokens)
        if recipe.tune != "off":
            return recipe, planned_search(recipe, sizes.facts.max_multiple)
    return recipe, recipe if recipe.search is not None else None


def planned_search(recipe: Recipe, max_multiple: int) -> Recipe:
    """The search that `tune` stands for: arms, budget and the one seed that walks.

    Raises:
        RecipeError: there is no arm to tune.
    """
    assert recipe.search is not None
    walked = recipe.search.arms or arms_to_tune(recipe, max_multiple)
    if not walked:
        raise RecipeError("no arm that this corpus can serve is to be tuned", where="tune", remedy="set tune: off")
    budget = (
        recipe.tune if isinstance(recipe.tune, TuneBudget) else TuneBudget(max_runs=AUTO_RUNS_PER_ARM * len(walked))
    )
    search = recipe.search.model_copy(
        update={"arms": walked, "max_runs": budget.max_runs, "max_hours": budget.max_hours}
    )
    return recipe.model_copy(update={"search": search, "seeds": recipe.seeds[:1], "ensembles": {}})


def arms_to_tune(recipe: Recipe, max_multiple: int) -> list[str]:
    """The baseline, every arm of real text alone that the corpus can serve, and the first method's synthetic arm."""
    arms = [arm for arm in build_arms(recipe) if arm.recipe.mixture.real_multiple <= max_multiple]
    real = [arm.name for arm in arms if not is_synthetic(arm)]
    return real + [arm.name for arm in arms if is_synthetic(arm) and not _is_control(arm)][:1]


def is_synthetic(arm: Arm) -> bool:
    """Whether the arm trains on synthetic rows."""
    return arm.recipe.mixture.has_synthetic_stream


def _is_control(arm: Arm) -> bool:
    ordering = arm.recipe.stream.ordering
    return ordering in ordering_names() and ordering_spec(ordering).role == "control"


def _with_settings(recipe: Recipe, outcome: SearchOutcome) -> Recipe:
    """Walked arms as found, other synthetic arms as the walked synthetic one; an arm without a result stays."""
    found = {arm.space.arm.name: arm.certificate.setting for arm in outcome.arms if arm.certificate.point is not None}
    arms = build_arms(recipe)
    shared = _shared_setting(arms, found)
    tuned: dict[str, dict[str, Any]] = {}
    for arm in arms:
        setting = found.get(arm.name, shared if is_synthetic(arm) else {})
        tuned[arm.name] = {**recipe.arms.get(arm.name, {}), **setting}
    return recipe.model_copy(update={"arms": tuned, "tune": "off"})


def _shared_setting(arms: Sequence[Arm], found: dict[str, dict[str, float]]) -> dict[str, float]:
    """The setting of the first walked synthetic arm."""
    return next((found[arm.name] for arm in arms if is_synthetic(arm) and arm.name in found), {})
