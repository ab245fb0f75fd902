"""Fitted power laws, and data efficiency by the real-only law."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from megadocs.report.inputs import ReportInputs
from megadocs.report.section import Row, Section, View, cell, flat, per_set


def _view(inputs: ReportInputs) -> View:
    return {} if inputs.results["sets"][0]["laws"] else None


def _tables(results: Mapping[str, Any]) -> dict[str, list[Row]]:
    laws = [law for block in results["sets"] for law in block.get("laws", ())]
    return {
        "data_efficiency_by_law": per_set(results, "data_efficiency_by_law", "by_asymptote"),
        "laws": per_set(results, "laws", "points", "residuals", "leave_one_out"),
        "law_points": [
            {"name": law["name"], "x_name": law["x_name"], **flat(point), "residual": cell(residual)}
            for law in laws
            for point, residual in zip(law["points"], law.get("residuals") or [None] * len(law["points"]), strict=True)
        ],
        "laws_without_one_size": [
            {"name": law["name"], "x_name": law["x_name"], **flat(row)}
            for law in laws
            for row in law.get("leave_one_out", ())
        ],
    }


SECTION = Section("laws", "Power laws", _view, _tables)
