"""A section of the report: what it shows, how it is drawn, which tables it adds.

    SECTION = Section("world", "Over the floor", view=lambda inputs: shown("world", inputs.results.get("world")))

A new one is a module of `sections/` with its template beside it, and a place in `sections.SECTIONS`; nothing else names
it. The template `sections/<name>.html.j2` gets the names of the view beside those of every section (`build.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from megadocs.analysis import number_of
from megadocs.report.inputs import ReportInputs

#: A line of a table: column -> number, text or None.
Row = dict[str, Any]
#: What a template gets by name; None leaves the section out.
View = Mapping[str, Any] | None


def no_tables(results: Mapping[str, Any]) -> dict[str, list[Row]]:
    """A section without tables of its own."""
    return {}


@dataclass(frozen=True)
class Section:
    """One section of the page."""

    name: str  # its id on the page and its template
    title: str  # its heading
    view: Callable[[ReportInputs], View]  # the names of its template; None where there is nothing to show
    #: table name -> flat rows, for the CSV and Parquet files; may be empty, must not depend on the inputs beside the
    #: results.
    tables: Callable[[Mapping[str, Any]], dict[str, list[Row]]] = no_tables


def shown(name: str, value: Any) -> View:
    """A view of one name; None where the value is empty."""
    return {name: value} if value else None


def flat(row: Mapping[str, Any], *, skip: Sequence[str] = (), prefix: str = "") -> Row:
    """A row without nesting: a mapping's keys behind its own, a pair as `_lower` and `_upper`, other lists left out."""
    found: Row = {}
    for name, value in row.items():
        if name in skip:
            continue
        key = f"{prefix}{name}"
        if isinstance(value, Mapping):
            found |= flat(value, prefix=f"{key}_")
        elif isinstance(value, list) and len(value) == 2 and name != "seeds":
            found[f"{key}_lower"], found[f"{key}_upper"] = (cell(item) for item in value)
        elif not isinstance(value, list):
            found[key] = cell(value)
    return found


def flat_rows(rows: Iterable[Mapping[str, Any]], *skip: str) -> list[Row]:
    """Every row flat."""
    return [flat(row, skip=skip) for row in rows]


def per_set(results: Mapping[str, Any], key: str, *skip: str) -> list[Row]:
    """The rows under a key of every set's analysis, with the set and the mode before them."""
    return [
        {"set": block["set"], "mode": block["mode"], **flat(row, skip=skip)}
        for block in results["sets"]
        for row in block.get(key, ())
    ]


def cell(value: Any) -> Any:
    """A value of the results file; numbers that JSON cannot hold are numbers again."""
    return number_of(value) if value in ("NaN", "Infinity", "-Infinity") else value
