"""Accuracies of runs and ensembles."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from megadocs.report.section import Row, Section, flat, flat_rows, shown


def _tables(results: Mapping[str, Any]) -> dict[str, list[Row]]:
    found = results.get("benchmarks") or {"tasks": [], "rows": [], "scores": []}
    return {
        "benchmarks": [_row(row, found["tasks"]) for row in found["rows"]],
        "benchmark_scores": flat_rows(found["scores"]),
    }


def _row(row: Mapping[str, Any], tasks: list[str]) -> Row:
    cells = dict(zip((f"accuracy_{task}" for task in tasks), row["cells"], strict=True))
    cut = dict(zip((f"truncated_{task}" for task in tasks), row.get("truncated", [0] * len(tasks)), strict=True))
    return {**flat(row, skip=("cells", "truncated", "seed_errors")), **cells, **cut}


SECTION = Section(
    "benchmarks", "Benchmarks", lambda inputs: shown("benchmarks", inputs.results.get("benchmarks")), _tables
)
