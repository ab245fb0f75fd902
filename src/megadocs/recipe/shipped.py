"""The recipes that come with the package, by name: `quickstart`, `small`, `paper/order`, ...

    shipped_names()              # ["paper/attention", ..., "quickstart", ...]
    shipped_path("quickstart")   # its file

Wherever a recipe's file is asked for, such a name will do, unless a file of that name is there.
"""

from __future__ import annotations

from pathlib import Path

from megadocs.errors import InputError

_FOLDER = Path(__file__).parents[1] / "recipes"


def shipped_names() -> list[str]:
    """The names, sorted; those of the paper's figures begin with `paper/`."""
    return sorted(path.relative_to(_FOLDER).with_suffix("").as_posix() for path in _FOLDER.rglob("*.yaml"))


def shipped_path(name: str) -> Path:
    """The file of a recipe of the package.

    Raises:
        InputError: there is none of that name.
    """
    if name not in shipped_names():
        remedy = f"choose one of {', '.join(shipped_names())} (`megadocs recipes list` describes them)"
        raise InputError(f"the package has no recipe {name!r:.80}", where="recipe", remedy=remedy)
    return _FOLDER / f"{name}.yaml"


def recipe_path(path: str | Path) -> Path:
    """The path as it is, or the package's recipe of that name where no such file is there."""
    path = Path(path)
    if path.suffix == "" and not path.exists() and path.as_posix() in shipped_names():
        return shipped_path(path.as_posix())
    return path
