"""The arms of a recipe: the recipe with each arm's overrides; and the part of a recipe that one arm or seed is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from megadocs.errors import RecipeError
from megadocs.kinds import is_own, ordering_names, ordering_spec
from megadocs.recipe.overrides import set_dotted
from megadocs.recipe.recipe import Recipe
from megadocs.recipe.validation import validated

_FRACTION = "mixture.synthetic_fraction"


@dataclass(frozen=True, slots=True)
class Arm:
    """One arm of an experiment: its name and the recipe with its overrides applied (and no arms of its own)."""

    name: str
    recipe: Recipe


def build_arms(recipe: Recipe) -> list[Arm]:
    """The recipe's arms in their order, each validated with its overrides; a recipe without arms is one arm `run`.

    Raises:
        RecipeError: an arm's overrides name no field, or set a value that its field does not take.
    """
    base = recipe.model_dump(mode="python")
    base["arms"] = {}
    arms = []
    for name, overrides in (recipe.arms or {"run": {}}).items():
        data = merged({}, base)
        for key, value in overrides.items():
            set_dotted(data, key, value)
        made = validated(data, f"arms.{name}")
        fraction = _fraction_of_ordering(made, overrides)
        if fraction is not None:
            set_dotted(data, _FRACTION, fraction)
            made = validated(data, f"arms.{name}")
        arms.append(Arm(name, made))
    return arms


def _fraction_of_ordering(arm: Recipe, overrides: Mapping[str, Any]) -> Decimal | None:
    """The synthetic fraction that comes with an arm's ordering, where nothing says another."""
    section = overrides.get("mixture")
    is_said = _FRACTION in overrides or (isinstance(section, Mapping) and "synthetic_fraction" in section)
    is_open = not is_said and not arm.mixture.has_synthetic_stream
    ordering = arm.stream.ordering
    if not is_open or ordering is None or ordering not in ordering_names():
        return None
    return ordering_spec(ordering).synthetic_fraction


def own_code_names(recipe: Recipe) -> list[str]:
    """Everything that the recipe names as `module:attribute`: kinds, orderings, an engine."""
    names = recipe.generate.own_kinds
    names += [recipe.generate.engine.kind] if is_own(recipe.generate.engine.kind) else []
    for arm in build_arms(recipe):
        stream = arm.recipe.stream
        named = (stream.ordering, *(part.ordering for part in stream.extra))
        names += [name for name in named if name is not None and is_own(name)]
    return names


def select_runs(recipe: Recipe, *, arm: str | None = None, seed: int | None = None) -> Recipe:
    """The recipe with one of its arms, one of its seeds, or both; None keeps all (RecipeError: there is no such)."""
    arms = recipe.arms or {"run": {}}
    if arm is not None and arm not in arms:
        raise RecipeError(f"no arm {arm!r}", where="--arm", remedy=f"choose one of {', '.join(arms)}")
    if seed is not None and seed not in recipe.seeds:
        known = ", ".join(str(known) for known in recipe.seeds)
        raise RecipeError(f"no seed {seed}", where="--seed", remedy=f"choose one of {known}, or set seeds=[{seed}]")
    changes: dict[str, Any] = {} if arm is None or not recipe.arms else {"arms": {arm: arms[arm]}}
    changes |= {} if seed is None else {"seeds": [seed]}
    return recipe.model_copy(update=changes)


def merged(base: Mapping[str, Any], top: Mapping[str, Any]) -> dict[str, Any]:
    """`top` over `base`, mapping by mapping; lists and values replace. Neither argument is changed."""
    out = {key: merged({}, value) if isinstance(value, Mapping) else value for key, value in base.items()}
    for key, value in top.items():
        below = out.get(key)
        if isinstance(value, Mapping):
            out[key] = merged(below if isinstance(below, Mapping) else {}, value)
        else:
            out[key] = value
    return out
