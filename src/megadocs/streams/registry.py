"""Names of orderings: what each built-in one is made of, and how a user's own is loaded.

    plan = find_ordering("stitched", real_document="last")
    plan.kinds, plan.function

A user's ordering is a function with the signature of `orderings.Ordering`, named `module:attribute` in the recipe.
It is code, so it loads only with `--allow-code`. An attribute `kinds` on it (a tuple of kind names) says which rows
it wants; without one it gets rephrases and real documents.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import cast

from megadocs.documents import KIND_CODES
from megadocs.errors import RecipeError
from megadocs.streams import orderings
from megadocs.streams.orderings import Ordering


@dataclass(frozen=True, slots=True)
class OrderingPlan:
    """An ordering and the rows it wants.

    Attributes:
        name: as in the recipe; also the stream's name.
        function: the ordering.
        kinds: kinds of row the stream selects.
        is_custom: a user's own; its result is checked each epoch.
    """

    name: str
    function: Ordering
    kinds: tuple[str, ...]
    is_custom: bool = False


#: name -> (function, kinds without the real document, whether `real_document` other than "none" adds real rows).
_BUILT_IN: dict[str, tuple[Ordering, tuple[str, ...], bool]] = {
    "simple": (orderings.simple, ("rephrase",), True),
    "stitched": (orderings.stitched, ("rephrase",), True),
    "latent_thoughts": (orderings.simple, ("latent_thoughts",), False),
    "merged": (orderings.merged, ("rephrase", "latent_thoughts"), True),
    "self_distilled": (orderings.simple, ("self_distilled",), False),
    "repeat": (orderings.repeat, ("real",), False),
    "mis_stitched": (orderings.mis_stitched, ("rephrase",), True),
    "thoughts_appended": (orderings.simple, ("thoughts_appended",), False),
}

ORDERING_NAMES = tuple(_BUILT_IN)


def find_ordering(name: str, *, real_document: str, allow_code: bool = False) -> OrderingPlan:
    """The ordering of that name.

    Raises:
        RecipeError: unknown name, code not allowed, or nothing callable there.
    """
    if name in _BUILT_IN:
        function, kinds, adds_real = _BUILT_IN[name]
        return OrderingPlan(name, function, kinds + (("real",) if adds_real and real_document != "none" else ()))
    if ":" not in name:
        raise RecipeError(
            f"unknown ordering {name!r}",
            where="stream.ordering",
            remedy=f"use one of {', '.join(ORDERING_NAMES)}, or module:attribute",
        )
    if not allow_code:
        raise RecipeError(
            f"the ordering {name!r} runs code of its own",
            where="stream.ordering",
            remedy="read that code, then pass --allow-code",
        )
    function = _load(name)
    kinds = tuple(getattr(function, "kinds", ("rephrase", "real")))
    unknown = sorted(set(kinds) - set(KIND_CODES))
    if unknown:
        raise RecipeError(f"{name} asks for unknown kinds: {', '.join(unknown)}", where="stream.ordering")
    return OrderingPlan(name, function, kinds, is_custom=True)


def _load(name: str) -> Ordering:
    module_name, _, attribute = name.partition(":")
    try:
        function = getattr(importlib.import_module(module_name), attribute)
    except (ImportError, AttributeError, ValueError) as error:
        raise RecipeError(
            f"cannot load the ordering {name!r}: {error}",
            where="stream.ordering",
            remedy="check that the module is on PYTHONPATH",
        ) from error
    if not callable(function):
        raise RecipeError(f"{name!r} is not callable", where="stream.ordering", remedy="name a function")
    return cast(Ordering, function)
