"""Validation of a recipe's values, its errors as `RecipeError`: the dotted key, what is wrong, the nearest key."""

from __future__ import annotations

import difflib
import types
import typing
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ValidationError

from megadocs.errors import RecipeError
from megadocs.kinds import task_names
from megadocs.recipe.generation import GenerateConfig, TaskConfig
from megadocs.recipe.recipe import Recipe


def validated(data: dict[str, Any], source: str) -> Recipe:
    """The recipe that these values make; `RecipeError` for the first problem, `source` being its file or arm."""
    try:
        return Recipe.model_validate(data)
    except ValidationError as error:
        raise _as_recipe_error(error, source) from None


def _as_recipe_error(error: ValidationError, source: str) -> RecipeError:
    """The first problem as what, dotted key and remedy; the count of the others."""
    problems = error.errors(include_url=False)
    first = max(problems, key=_relevance)
    path = _user_path(first["loc"])
    dotted = ".".join(str(part) for part in path)
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    where = f"{source}: {dotted}" if dotted else source
    if first["type"] == "extra_forbidden":
        known = _known_keys(path[:-1])
        if path[-1] in known:  # a key of another kind of this section
            what = f"{dotted} does not go with the section's `kind`"
            remedy = "remove it, or set the kind that has it (docs/recipe.md)"
            return RecipeError(what + more, where=source, remedy=remedy)
        close = difflib.get_close_matches(str(path[-1]), known, n=1, cutoff=0.5)
        remedy = f"did you mean {close[0]!r}?" if close else f"known keys: {', '.join(sorted(known))}"
        return RecipeError(f"unknown key {path[-1]!r}{more}", where=where, remedy=remedy)
    if first["type"] == "missing":
        return RecipeError(f"a value is missing{more}", where=where, remedy=f"set {dotted}=...")
    message = first["msg"].removeprefix("Value error, ")
    return RecipeError(f"{message}; got {first.get('input')!r:.80}{more}", where=where, remedy=f"change {dotted}")


def _relevance(problem: Mapping[str, Any]) -> tuple[int, int]:
    """An unknown key explains the problems around it; of a union's complaints the deepest is the user's."""
    return (problem["type"] == "extra_forbidden", len(problem["loc"]))


def _user_path(location: tuple[int | str, ...]) -> list[int | str]:
    """The location without the union members' names that pydantic puts into it (`corpus.split.SplitCounts.train`)."""
    path: list[int | str] = []
    for part in location:
        is_tag = isinstance(part, str) and (part[:1].isupper() or part.startswith(("literal[", "function-")))
        if is_tag or (path == ["tokenizer"] and part in ("train", "load")):
            continue
        path.append(part)
    return path


def _known_keys(path: list[int | str]) -> list[str]:
    """Field names of the section at `path`."""
    models: list[type[BaseModel]] = [Recipe]
    for part in path:
        below: list[type[BaseModel]] = []
        for model in models:
            info = model.model_fields.get(str(part))
            if info is not None:
                below += models_in(info.annotation)
            elif model is GenerateConfig and part in task_names():
                below.append(TaskConfig)
        models = below or models
    more = task_names() if GenerateConfig in models else ()
    return sorted({name for model in models for name in model.model_fields} | set(more))


def models_in(annotation: Any) -> list[type[BaseModel]]:
    """The recipe sections that a field's type mentions."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    if isinstance(annotation, types.UnionType) or typing.get_origin(annotation) is not None:
        return [model for part in typing.get_args(annotation) for model in models_in(part)]
    return []
