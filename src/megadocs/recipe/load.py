"""Reading recipes: a YAML file, `extends`, `key.sub=value` overrides, validation, references."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from megadocs.errors import RecipeError
from megadocs.recipe.arms import merged
from megadocs.recipe.consent import apply_consent
from megadocs.recipe.overrides import set_dotted, split_path
from megadocs.recipe.plain_yaml import parse_yaml, read_yaml_file
from megadocs.recipe.recipe import Recipe
from megadocs.recipe.references import check_references
from megadocs.recipe.shipped import recipe_path
from megadocs.recipe.style_paths import with_absolute_styles
from megadocs.recipe.validation import validated


def load_recipe(path: str | Path, overrides: Iterable[str] = ()) -> Recipe:
    """Read a recipe file, apply `extends` (one level), overrides and the person's consent, and validate.

    Args:
        path: YAML file, or the name of a recipe of the package (`shipped.py`).
        overrides: `dotted.key=value` strings (see `overrides.py`); values are parsed as YAML.

    Raises:
        RecipeError: unreadable file, bad YAML, unknown key, value out of range, a name of nothing; `where` is the
            dotted key.
    """
    path = recipe_path(path)
    data = with_absolute_styles(_read_mapping(path), path.parent)
    base = data.pop("extends", None)
    if base is not None:
        below = _base_path(path, base)
        parent = with_absolute_styles(_read_mapping(below), below.parent)
        if "extends" in parent:
            raise RecipeError("extends goes one level deep", where=f"{base}: extends", remedy="write the recipe out")
        if "arms" in data:  # a recipe with arms of its own does not want its parent's, nor what names them
            for section in ("arms", "ensembles"):
                parent.pop(section, None)
        data = merged(parent, data)
    personal: list[list[str]] = []
    for override in overrides:
        key, separator, text = override.partition("=")
        if not separator or not key.strip():
            raise RecipeError(f"not an override: {override!r}", remedy="write key.sub=value")
        personal.append(split_path(data, key.strip()))
        set_dotted(data, key.strip(), parse_yaml(text, where=key.strip()))
    recipe = validated(with_absolute_styles(data, Path.cwd()), str(path))
    check_references(recipe)
    return apply_consent(recipe, personal)


def base_name(path: Path) -> str | None:
    """The file that a recipe extends, relative to its own folder; None when it extends none."""
    base = _read_mapping(path).get("extends")
    return str(base) if base is not None else None


def _read_mapping(path: Path) -> dict[str, Any]:
    data = read_yaml_file(path)
    if not isinstance(data, dict):
        raise RecipeError(
            "a recipe is a mapping of sections",
            where=str(path),
            remedy="start from one that works: `megadocs recipes copy quickstart`",
        )
    return data


def _base_path(path: Path, base: Any) -> Path:
    """The file that `extends` names: a YAML file beside the recipe or in a folder under it."""
    is_recipe = isinstance(base, str) and base.endswith((".yaml", ".yml"))
    if is_recipe and not Path(base).is_absolute() and ".." not in Path(base).parts:
        return path.parent / str(base)
    raise RecipeError(
        f"extends names {base!r:.80}, which is no recipe in this folder",
        where=f"{path}: extends",
        remedy="put the recipe that it builds on beside it, and name that file",
    )
