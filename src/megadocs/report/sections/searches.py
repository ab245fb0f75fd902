"""Certificates of the searches of this workspace, their cost, and every trial."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from megadocs.report.section import Row, Section, flat, flat_rows, shown


def _tables(results: Mapping[str, Any]) -> dict[str, list[Row]]:
    searches = results.get("searches") or []
    return {
        "searches": flat_rows(searches, "axes", "seeds", "trials", "by_seed"),
        "search_neighbours": [
            {"search": row["search"], "arm": row["arm"], **flat(line)}
            for row in searches
            for line in row["certificate"]["neighbours"]
        ],
        "search_trials": [
            {"search": row["search"], "arm": row["arm"], **flat(trial)} for row in searches for trial in row["trials"]
        ],
    }


SECTION = Section("searches", "Searches", lambda inputs: shown("searches", inputs.results.get("searches")), _tables)
