"""What one part of a recipe says about another, checked when it is loaded: before anything is paid for.

    check_references(recipe)        # RecipeError: names the key, what it refers to, and what there is

Every arm is validated with its overrides; names of arms (baseline, ensembles, teacher, search) and of published
datasets are names that there are; values of the search's axes and of its start are values that their field takes; what
must fit together (the stride of scoring, the caps of streams, the clock of a run) does so in every arm. References to
what lies outside the recipe (files, styles, benchmarks) are the pipeline's: `pipeline.steps`.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Any

from pydantic import ValidationError

from megadocs.errors import RecipeError
from megadocs.recipe.arms import Arm, build_arms
from megadocs.recipe.base import Section
from megadocs.recipe.recipe import Recipe
from megadocs.recipe.search import AxisConfig, SearchConfig
from megadocs.recipe.streams import MixtureConfig, block_windows, stream_names


def check_references(recipe: Recipe) -> None:
    """Refuse a recipe of which one part refers to what another does not have.

    Raises:
        RecipeError: an arm does not validate, a name is of nothing, a value is none that its field takes.
    """
    arms = build_arms(recipe)
    names = [arm.name for arm in arms]
    for where, wanted in _arm_names(recipe):
        if wanted not in names:
            raise _no_such("arm", wanted, where, names)
    for arm in arms:
        _check_datasets(arm)
        _check_stride(arm)
        _check_streams(arm)
    if not batch_follows_tokens(recipe):
        check_blocks(arms)
    _check_search(recipe, arms)


def follows_tokens(recipe: Recipe) -> bool:
    """Whether student and batch go by the table: `tune` is written, so that `tune=off` leaves the student as it was."""
    return "tune" in recipe.model_fields_set


def batch_follows_tokens(recipe: Recipe) -> bool:
    """Whether the corpus chooses the batch: it goes by the table, and `train.batch_size` is not set."""
    return follows_tokens(recipe) and "batch_size" not in recipe.train.model_fields_set


def check_blocks(arms: Iterable[Arm]) -> None:
    """`RecipeError` for a mixture block that is no multiple of its arm's batch."""
    for arm in arms:
        try:
            block_windows(arm.recipe.mixture, arm.recipe.train.batch_size)
        except RecipeError as error:
            raise RecipeError(f"{error.what} (arm {arm.name})", where=error.where, remedy=error.remedy) from None


def _arm_names(recipe: Recipe) -> Iterable[tuple[str, str]]:
    """(dotted key, name of an arm) wherever the recipe names one. The baseline's default need not be there."""
    if "baseline" in recipe.analysis.model_fields_set:
        yield "analysis.baseline", recipe.analysis.baseline
    for name, ensemble in recipe.ensembles.items():
        yield f"ensembles.{name}.arm", ensemble.arm
    if recipe.generate.sample is not None:
        yield "generate.sample.teacher.arm", recipe.generate.sample.teacher.arm
    if recipe.search is not None:
        for arm in recipe.search.arms or ():
            yield "search.arms", arm
        for key, axis in recipe.search.axes.items():
            for arm in axis.arms or ():
                yield f"search.axes.{key}.arms", arm


def _no_such(what: str, name: str, where: str, known: Sequence[str]) -> RecipeError:
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    remedy = f"did you mean {close[0]!r}?" if close else f"there are: {', '.join(known) or 'none'}"
    return RecipeError(f"there is no {what} {name!r}", where=where, remedy=remedy)


def _check_datasets(arm: Arm) -> None:
    published = arm.recipe.published
    for name in arm.recipe.stream.datasets:
        if published is None or name not in published.datasets:
            known = list(published.datasets) if published is not None else []
            raise _no_such("published dataset", name, f"arm {arm.name}: stream.datasets", known)


def _check_stride(arm: Arm) -> None:
    stride, context = arm.recipe.evaluate.stride, arm.recipe.train.context_length
    if stride is not None and stride >= context:
        raise RecipeError(
            f"a stride of {stride} in a context of {context} tokens (arm {arm.name}) leaves no token to predict from",
            where="evaluate.stride",
            remedy=f"use 1 to {context - 1}, or leave it out (half the context)",
        )


def _check_streams(arm: Arm) -> None:
    """The streams of an arm: an ordering where one is needed, caps that name them, a stream that sets the length."""
    try:
        stream_names(arm.recipe.stream, arm.recipe.mixture)
    except RecipeError as error:
        raise RecipeError(f"{error.what} (arm {arm.name})", where=error.where, remedy=error.remedy) from None
    if not arm.recipe.mixture.has_real_stream and arm.recipe.train.synthetic_epochs is None:
        raise RecipeError(
            f"arm {arm.name} has no real stream of its own, so its length comes from synthetic_epochs",
            where="train.synthetic_epochs",
            remedy="set it: passes over the synthetic stream",
        )


def _check_search(recipe: Recipe, arms: Sequence[Arm]) -> None:
    """Every value of every axis, and of the start, is one that its field takes in every arm it applies to."""
    search = recipe.search
    if search is None:
        return
    start = search.start if isinstance(search.start, dict) else {}
    for key in start:
        if key not in search.axes:
            raise _no_such("axis", key, "search.start", list(search.axes))
    for arm in searched_arms(search, arms):
        for key, axis in search.axes.items():
            number_at(arm.recipe, key, where=f"search.axes.{key}")
            if not axis_applies(arm, key, axis):
                continue
            for value in axis.values:
                check_value(arm.recipe, key, value, where=f"search.axes.{key}.values")
            if key == "train.batch_size":
                _check_batches(arm.recipe.mixture, [int(value) for value in axis.values])
            if key in start:
                check_value(arm.recipe, key, start[key], where=f"search.start.{key}")


def _check_batches(mixture: MixtureConfig, batch_sizes: Sequence[int]) -> None:
    for batch_size in batch_sizes:
        try:
            block_windows(mixture, batch_size)
        except RecipeError as error:
            remedy = f"leave it out, or use a multiple of {math.lcm(*batch_sizes)}"
            raise RecipeError(error.what, where=error.where, remedy=remedy) from None


def searched_arms(search: SearchConfig, arms: Sequence[Arm]) -> list[Arm]:
    """The arms that a search is about, in its own order where it names them."""
    by_name = {arm.name: arm for arm in arms}
    return [by_name[name] for name in search.arms] if search.arms else list(arms)


def axis_applies(arm: Arm, dotted: str, axis: AxisConfig) -> bool:
    """Whether an axis is searched for an arm: it names the arm, or names none; a fraction needs synthetic text."""
    if axis.arms is not None:
        return arm.name in axis.arms
    return dotted != "mixture.synthetic_fraction" or arm.recipe.mixture.synthetic_fraction > 0


def number_at(recipe: Recipe, dotted: str, *, where: str) -> float | None:
    """The number of a dotted key; None where the recipe sets none.

    Raises:
        RecipeError: no such field, or not a number's.
    """
    section, field = _field_at(recipe, dotted, where)
    present = getattr(section, field)
    if isinstance(present, bool) or not isinstance(present, int | float | Decimal | None):
        raise RecipeError("only numbers are searched", where=where, remedy="make it an arm instead")
    return None if present is None else float(present)


def _field_at(recipe: Recipe, dotted: str, where: str) -> tuple[Section, str]:
    """The section and the field that a dotted key names."""
    *path, field = dotted.split(".")
    section: Any = recipe
    for key in path:
        section = getattr(section, key, None) if isinstance(section, Section) else None
    if not isinstance(section, Section) or field not in type(section).model_fields:
        known = list(type(section).model_fields) if isinstance(section, Section) else []
        raise _no_such("field", field, where, known)
    return section, field


def check_value(recipe: Recipe, dotted: str, value: float, *, where: str) -> None:
    """Refuse a value that the field of this dotted key does not take.

    Raises:
        RecipeError: no such field, or the value is out of its range.
    """
    section, field = _field_at(recipe, dotted, where)
    try:
        type(section).model_validate(section.model_dump() | {field: value})
    except ValidationError as error:
        reason = error.errors(include_url=False)[0]["msg"].removeprefix("Value error, ")
        raise RecipeError(f"{value:g} is no value of {dotted}: {reason}", where=where, remedy="take it out") from None
