"""The registry: the kinds of `built_in/`, found by looking into that folder, and a user's own kinds and orderings.

    row_kind("rephrase").code, ordering_spec("stitched").kinds, task_names()

A user's own is named `module:attribute` in the recipe and is a `Kind`, an `OrderingSpec`, or a function with the
signature of `ordering.Ordering`; an attribute `kinds` on it (a tuple of kind names) says which rows it wants, without
one it gets rephrases and real documents. It is code, so somebody has to allow it first (`load_code`).
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from typing import TypeVar, cast

from megadocs.errors import RecipeError
from megadocs.kinds.ordering import Ordering, OrderingSpec, Role
from megadocs.kinds.own_code import OwnCode, is_own, load_own_code, own_code
from megadocs.kinds.row import REAL, RowKind
from megadocs.kinds.task import TaskKind

_FOLDER = "megadocs.kinds.built_in"

K = TypeVar("K")
V = TypeVar("V")


@dataclass(frozen=True, slots=True)
class Kind:
    """What one file of `built_in/` makes known, as its `KIND`."""

    #: what is asked of the generator; None where rows are made of another task's generations.
    task: TaskKind | None = None
    rows: tuple[RowKind, ...] = ()  # what is made of it
    orderings: tuple[OrderingSpec, ...] = ()  # how streams order those rows


@dataclass(frozen=True, slots=True)
class Registry:
    """Everything registered, by name, in the order in which it was added; `origin` says where it came from."""

    tasks: dict[str, TaskKind] = field(default_factory=dict)
    rows: dict[str, RowKind] = field(default_factory=dict)
    by_code: dict[int, RowKind] = field(default_factory=dict)
    orderings: dict[str, OrderingSpec] = field(default_factory=dict)
    origin: dict[tuple[str, str | None], str] = field(default_factory=dict)

    def add(self, kind: Kind, where: str) -> None:
        """Register a kind; a name or code that is taken is a `RecipeError`."""
        if kind.task is not None:
            _enter(self.tasks, kind.task.name, kind.task, where)
            self.origin["task", kind.task.name] = where
        for row in kind.rows:
            _enter(self.rows, row.name, row, where)
            _enter(self.by_code, row.code, row, where)
            self.origin["row", row.name] = where
        for spec in kind.orderings if not is_own(where) else ():  # a user's own are named by module:attribute
            _enter(self.orderings, spec.name, spec, where)

    def remove(self, where: str) -> None:
        """Forget what came from there."""
        for key in [key for key, origin in self.origin.items() if origin == where]:
            del self.origin[key]
            table, name = key
            if table == "task":
                self.tasks.pop(str(name))
            else:
                self.by_code.pop(self.rows.pop(str(name)).code)


def _enter(table: dict[K, V], key: K, value: V, where: str) -> None:
    if key in table:
        raise RecipeError(f"{key!r} is the name or code of another kind", where=where, remedy="choose another one")
    table[key] = value


@cache
def _known() -> Registry:
    """The built-in kinds, in the order of their rows' codes."""
    package = importlib.import_module(_FOLDER)
    found: list[tuple[str, Kind]] = []
    for entry in pkgutil.iter_modules(package.__path__):
        name = f"{_FOLDER}.{entry.name}"
        found.append((name, importlib.import_module(name).KIND))
    known = Registry()
    for name, kind in sorted(found, key=lambda pair: min((row.code for row in pair[1].rows), default=256)):
        known.add(kind, name)
    return known


def task_kind(name: str) -> TaskKind:
    """The task of that name; `RecipeError` when there is none."""
    return _look_up(_known().tasks, name, "generation task", "generate")


def task_names() -> tuple[str, ...]:
    """Names of the tasks that ask something about documents, those of loaded code included."""
    return tuple(_known().tasks)


def built_in_tasks() -> tuple[str, ...]:
    """Names of the built-in ones among them."""
    return tuple(name for name in _known().tasks if task_key(name) == name)


def row_kind(name: str) -> RowKind:
    """The row kind of that name; `RecipeError` when there is none."""
    return _look_up(_known().rows, name, "kind of row", "stream.ordering")


def row_kind_of_code(code: int) -> RowKind:
    """The row kind whose rows carry that code in a row table; `RecipeError` when there is none."""
    return _look_up(_known().by_code, code, "code of a kind of row", "rows")


def row_kinds() -> tuple[RowKind, ...]:
    """All row kinds."""
    return tuple(_known().rows.values())


def ordering_spec(name: str) -> OrderingSpec:
    """The built-in ordering of that name; `RecipeError` when there is none."""
    return find_ordering(name)


def ordering_names() -> tuple[str, ...]:
    """Names of the built-in orderings."""
    return tuple(_known().orderings)


def orderings_of_role(role: Role) -> tuple[OrderingSpec, ...]:
    """The built-in methods, or the built-in controls."""
    return tuple(spec for spec in _known().orderings.values() if spec.role == role)


def find_ordering(name: str) -> OrderingSpec:
    """The ordering of that name, built in or a user's own that was loaded.

    Raises:
        RecipeError: unknown name, or nothing there that orders. ConsentError: code that nobody allowed.
    """
    if not is_own(name):
        return _look_up(_known().orderings, name, "ordering", "stream.ordering", ", or module:attribute")
    value = own_code(name).value
    if isinstance(value, Kind):
        if len(value.orderings) != 1:
            listed = _listed(spec.name for spec in value.orderings) or "none"
            remedy = "give the kind one, or name the module's `OrderingSpec` that is meant"
            raise RecipeError(f"{name} has not one ordering but {listed}", where="stream.ordering", remedy=remedy)
        value = value.orderings[0]
    spec = value if isinstance(value, OrderingSpec) else _of_function(name, value)
    for kind in spec.kinds:
        row_kind(kind)
    return replace(spec, name=name)


def _of_function(name: str, function: object) -> OrderingSpec:
    if not callable(function):
        remedy = "name a function, an OrderingSpec or a Kind"
        raise RecipeError(f"{name!r} is not callable", where="stream.ordering", remedy=remedy)
    kinds = tuple(getattr(function, "kinds", ("rephrase", REAL)))
    return OrderingSpec(name, cast(Ordering, function), kinds, repeats=bool(getattr(function, "repeats", False)))


def load_code(names: Iterable[str], *, allow: bool) -> dict[str, str]:
    """Load a user's own code and register the kinds among it; name -> digest. See `own_code.load_own_code`."""
    return load_own_code(names, allow=allow, on_load=_register)


def _register(code: OwnCode) -> None:
    known = _known()
    known.remove(code.name)
    if isinstance(code.value, Kind):
        for row in code.value.rows:
            if not 128 <= row.code <= 255:
                remedy = "codes below 128 are for built-in kinds"
                raise RecipeError(f"the row kind {row.name!r} has the code {row.code}", where=code.name, remedy=remedy)
        known.add(code.value, code.name)


def codes_of(*, task: str | None = None, row: str | None = None, ordering: str | None = None) -> dict[str, str]:
    """Name -> digest of a user's own code behind a task, a row kind or an ordering; empty for built-in ones."""
    known = _known()
    names = {known.origin.get(("task", task)), known.origin.get(("row", row)), ordering if is_own(ordering) else None}
    return {name: own_code(name).digest for name in sorted(filter(None, names)) if is_own(name)}


def task_key(name: str) -> str:
    """Key of a task's section in `generate`: its name, or `module:attribute` of the user's own kind."""
    origin = _known().origin.get(("task", name), name)
    return origin if is_own(origin) else name


def _look_up(table: Mapping[K, V], key: K, what: str, where: str, also: str = "") -> V:
    if key in table:
        return table[key]
    raise RecipeError(f"unknown {what} {key!r}", where=where, remedy=f"use one of {_listed(table)}{also}")


def _listed(names: Iterable[object]) -> str:
    return ", ".join(map(str, names))
