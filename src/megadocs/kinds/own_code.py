"""A user's own code: kinds, orderings and engines, named `module:attribute` in a recipe.

    load_own_code(["my_kinds:haiku"], allow=True)      # {"my_kinds:haiku": SHA-256 of the module's source}
    own_code("my_kinds:haiku").value                   # what the attribute is

It runs in this process with all that the process may do, so it is loaded when a person says so (`--allow-code`), never
because a recipe or a record names it. The digest of the module's own file enters the identity of every step that the
code decides: an edited module makes new artifacts beside the old ones. Modules that it imports are not covered.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import inspect
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from megadocs.errors import ConsentError, RecipeError

_REMEDY_PATH = "check that the module's folder is on PYTHONPATH"


@dataclass(frozen=True, slots=True)
class OwnCode:
    """What `module:attribute` names, and the SHA-256 of the module's source file."""

    name: str
    value: object
    digest: str


_loaded: dict[str, OwnCode] = {}


def is_own(name: str | None) -> bool:
    """Whether a name in a recipe stands for code of its own."""
    return name is not None and ":" in name


def load_own_code(names: Iterable[str], *, allow: bool, on_load: Callable[[OwnCode], None]) -> dict[str, str]:
    """Load the code of these names, once; a module that was edited since is loaded again.

    Args:
        names: `module:attribute`, as often as they occur.
        allow: whether the person allows it; what was loaded before in this process stays allowed.
        on_load: gets what was loaded, to register it.

    Returns:
        Name -> digest.

    Raises:
        ConsentError: it is not allowed. RecipeError: there is no such thing.
    """
    digests = {}
    for name in dict.fromkeys(names):
        if not allow and name not in _loaded:  # what this process was allowed once, it has
            raise _not_allowed(name)
        known, digest = _loaded.get(name), _digest_of(name)
        if known is None or known.digest != digest:
            _loaded[name] = OwnCode(name, _import(name, is_edited=known is not None), digest)
            on_load(_loaded[name])
        digests[name] = digest
    return digests


def is_loaded(name: str) -> bool:
    """Whether that code was allowed and loaded."""
    return name in _loaded


def own_code(name: str) -> OwnCode:
    """What was loaded under that name; `ConsentError` where nobody allowed it."""
    if name not in _loaded:
        raise _not_allowed(name)
    return _loaded[name]


def _not_allowed(name: str) -> ConsentError:
    return ConsentError(
        f"{name!r} runs code of its own",
        where=name,
        remedy="read that code, then pass --allow-code",
    )


def _digest_of(name: str) -> str:
    module_name = name.partition(":")[0]
    try:
        found = sys.modules.get(module_name)
        file = inspect.getsourcefile(found) if found is not None else _find(module_name)
        return hashlib.sha256(Path(file or "").read_bytes()).hexdigest()
    except (ImportError, AttributeError, ValueError, TypeError, OSError) as error:
        raise RecipeError(
            f"cannot load {name!r}: there is no source file of {module_name!r}", where=name, remedy=_REMEDY_PATH
        ) from error


def _find(module_name: str) -> str | None:
    spec = importlib.util.find_spec(module_name)
    if spec is None:
        raise ImportError(module_name)
    return spec.origin


def _import(name: str, *, is_edited: bool) -> object:
    module_name, _, attribute = name.partition(":")
    try:
        module = importlib.import_module(module_name)
        if is_edited:
            module = importlib.reload(module)
        return getattr(module, attribute)
    except Exception as error:  # whatever a user's module does when it is imported
        raise RecipeError(
            f"cannot load {name!r}: {type(error).__name__}: {error}",
            where=name,
            remedy="check that it can be imported and has that attribute",
        ) from error
