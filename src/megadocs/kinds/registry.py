"""The registry: the kinds of `built_in/`, found by looking into that folder, and a user's own orderings.

    row_kind("rephrase").code, ordering_spec("stitched").kinds, task_names()

A user's ordering is a function with the signature of `ordering.Ordering`, named `module:attribute` in the recipe. It is
code, so it loads only with `--allow-code`. An attribute `kinds` on it (a tuple of kind names) says which rows it wants;
without one it gets rephrases and real documents.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import TypeVar, cast

from megadocs.errors import ConsentError, RecipeError
from megadocs.kinds.ordering import Ordering, OrderingSpec, Role
from megadocs.kinds.row import REAL, RowKind
from megadocs.kinds.task import TaskKind

_FOLDER = "megadocs.kinds.built_in"

K = TypeVar("K")
V = TypeVar("V")


@dataclass(frozen=True, slots=True)
class Kind:
    """What one file of `built_in/` makes known, as its `KIND`.

    Attributes:
        task: what is asked of the generator; None where rows are made of another task's generations.
        rows: what is made of it.
        orderings: how streams order those rows.
    """

    task: TaskKind | None = None
    rows: tuple[RowKind, ...] = ()
    orderings: tuple[OrderingSpec, ...] = ()


@dataclass(frozen=True, slots=True)
class Registry:
    """Everything registered, by name, in the order in which it was added."""

    tasks: dict[str, TaskKind] = field(default_factory=dict)
    rows: dict[str, RowKind] = field(default_factory=dict)
    by_code: dict[int, RowKind] = field(default_factory=dict)
    orderings: dict[str, OrderingSpec] = field(default_factory=dict)

    def add(self, kind: Kind, where: str) -> None:
        """Register a kind; a name or code that is taken is a `RecipeError`."""
        if kind.task is not None:
            _enter(self.tasks, kind.task.name, kind.task, where)
        for row in kind.rows:
            _enter(self.rows, row.name, row, where)
            _enter(self.by_code, row.code, row, where)
        for spec in kind.orderings:
            _enter(self.orderings, spec.name, spec, where)


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
    for name, kind in sorted(found, key=lambda pair: min(row.code for row in pair[1].rows)):
        known.add(kind, name)
    return known


def task_kind(name: str) -> TaskKind:
    """The task of that name; `RecipeError` when there is none."""
    return _look_up(_known().tasks, name, "generation task", "generate")


def task_names() -> tuple[str, ...]:
    """Names of the tasks that ask something about documents."""
    return tuple(_known().tasks)


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


def find_ordering(name: str, *, allow_code: bool = False) -> OrderingSpec:
    """The ordering of that name, built in or a user's own.

    Raises:
        RecipeError: unknown name, or nothing callable there. ConsentError: code is not allowed.
    """
    if ":" not in name:
        return _look_up(_known().orderings, name, "ordering", "stream.ordering", ", or module:attribute")
    if not allow_code:
        raise ConsentError(
            f"the ordering {name!r} runs code of its own",
            where="stream.ordering",
            remedy="read that code, then pass --allow-code",
        )
    function = _load(name)
    kinds = tuple(getattr(function, "kinds", ("rephrase", REAL)))
    unknown = [kind for kind in kinds if kind not in _known().rows]
    if unknown:
        raise RecipeError(f"{name} asks for unknown kinds: {', '.join(unknown)}", where="stream.ordering")
    return OrderingSpec(name, function, kinds)


def _look_up(table: Mapping[K, V], key: K, what: str, where: str, also: str = "") -> V:
    if key in table:
        return table[key]
    raise RecipeError(f"unknown {what} {key!r}", where=where, remedy=f"use one of {_listed(table)}{also}")


def _listed(names: Iterable[object]) -> str:
    return ", ".join(map(str, names))


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
