"""Reading recipes: YAML, `extends`, `key.sub=value` overrides, arms. Errors name the dotted key and the nearest key."""

from __future__ import annotations

import difflib
import types
import typing
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from megadocs.errors import RecipeError
from megadocs.kinds import ordering_names, ordering_spec, task_names
from megadocs.recipe.generation import GenerateConfig, TaskConfig
from megadocs.recipe.overrides import set_dotted
from megadocs.recipe.recipe import Recipe

_MAX_RECIPE_BYTES = 1_000_000
_FRACTION = "mixture.synthetic_fraction"


@dataclass(frozen=True, slots=True)
class Arm:
    """One arm of an experiment: its name and the recipe with its overrides applied (and no arms of its own)."""

    name: str
    recipe: Recipe


def load_recipe(path: str | Path, overrides: Iterable[str] = ()) -> Recipe:
    """Read a recipe file, apply `extends` (one level) and overrides, and validate.

    Args:
        path: YAML file.
        overrides: `dotted.key=value` strings (see `overrides.py`); values are parsed as YAML.

    Raises:
        RecipeError: unreadable file, bad YAML, unknown key, value out of range; `where` is the dotted key.
    """
    path = Path(path)
    data = _read_yaml(path)
    base = data.pop("extends", None)
    if base is not None:
        parent = _read_yaml(path.parent / str(base))
        if "extends" in parent:
            raise RecipeError("extends goes one level deep", where=f"{base}: extends", remedy="write the recipe out")
        if "arms" in data:  # a recipe with arms of its own does not want its parent's, nor what names them
            for section in ("arms", "ensembles"):
                parent.pop(section, None)
        data = _merged(parent, data)
    for override in overrides:
        key, separator, text = override.partition("=")
        if not separator or not key.strip():
            raise RecipeError(f"not an override: {override!r}", remedy="write key.sub=value")
        try:
            value = yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise RecipeError(f"the value is not YAML: {text!r}", where=key, remedy="quote it") from error
        set_dotted(data, key.strip(), value)
    return _validated(data, str(path))


def build_arms(recipe: Recipe) -> list[Arm]:
    """The recipe's arms in their order, each validated with its overrides; a recipe without arms is one arm `run`."""
    base = recipe.model_dump(mode="python")
    base["arms"] = {}
    arms = []
    for name, overrides in (recipe.arms or {"run": {}}).items():
        data = _merged({}, base)
        for key, value in overrides.items():
            set_dotted(data, key, value)
        ordering = data["stream"]["ordering"]
        is_open = not data["mixture"]["synthetic_fraction"] and _FRACTION not in overrides
        if ordering in ordering_names() and is_open and data["mixture"]["separate_real_stream"]:
            fraction = ordering_spec(ordering).synthetic_fraction
            if fraction is not None:
                set_dotted(data, _FRACTION, fraction)
        arms.append(Arm(name, _validated(data, f"arms.{name}")))
    return arms


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


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        raw = path.read_bytes()
    except FileNotFoundError as error:
        raise RecipeError("no such recipe", where=str(path), remedy="give the path of a .yaml file") from error
    except OSError as error:
        raise RecipeError(f"cannot read the recipe: {error.strerror}", where=str(path)) from error
    if len(raw) > _MAX_RECIPE_BYTES:
        raise RecipeError("a recipe is at most 1 MB", where=str(path), remedy="is this the right file?")
    try:
        data = yaml.safe_load(raw.decode("utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise RecipeError(f"not valid YAML: {error}", where=str(path), remedy="mend the line it names") from error
    if not isinstance(data, dict):
        raise RecipeError("a recipe is a mapping of sections", where=str(path), remedy="see recipes/quickstart.yaml")
    return data


def _merged(base: Mapping[str, Any], top: Mapping[str, Any]) -> dict[str, Any]:
    """`top` over `base`, mapping by mapping; lists and values replace. Neither argument is changed."""
    out = {key: _merged({}, value) if isinstance(value, Mapping) else value for key, value in base.items()}
    for key, value in top.items():
        below = out.get(key)
        if isinstance(value, Mapping):
            out[key] = _merged(below if isinstance(below, Mapping) else {}, value)
        else:
            out[key] = value
    return out


def _validated(data: dict[str, Any], source: str) -> Recipe:
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
    further = task_names() if GenerateConfig in models else ()
    return sorted({name for model in models for name in model.model_fields} | set(further))


def models_in(annotation: Any) -> list[type[BaseModel]]:
    """The recipe sections that a field's type mentions."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    if isinstance(annotation, types.UnionType) or typing.get_origin(annotation) is not None:
        return [model for part in typing.get_args(annotation) for model in models_in(part)]
    return []
