"""Ensembles by their number of members, with the law over it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from megadocs.report.inputs import ReportInputs
from megadocs.report.section import Row, Section, View, flat_rows, shown


def _view(inputs: ReportInputs) -> View:
    """Per ensemble and average its losses by size on the headline set, and their law."""
    results = inputs.results
    headline = results["headline"]
    series: dict[tuple[str, str], dict[str, Any]] = {}
    for row in results.get("ensembles", ()):
        if (row["set"], row["mode"]) == (headline["set"], headline["mode"]):
            found = series.setdefault((row["ensemble"], row["average"]), {"sizes": {}, **row})
            found["sizes"][row["num_members"]] = row
    laws = {row["name"]: row for row in results.get("ensemble_laws", ())}
    rows = [{**found, "law": laws.get(f"{name}, {average}")} for (name, average), found in series.items()]
    sizes = sorted({size for found in series.values() for size in found["sizes"]})
    return shown("ensembles", rows and {"sizes": sizes, "rows": rows})


def _tables(results: Mapping[str, Any]) -> dict[str, list[Row]]:
    laws = flat_rows(results.get("ensemble_laws", ()), "points", "residuals", "leave_one_out")
    return {"ensembles": flat_rows(results.get("ensembles", ())), "ensemble_laws": laws}


SECTION = Section("ensembles", "Ensembles", _view, _tables)
