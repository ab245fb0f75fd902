"""Every arm by its training compute, in groups of equal compute."""

from __future__ import annotations

from megadocs.analysis.paper_tables import compute_groups
from megadocs.report.inputs import ReportInputs
from megadocs.report.section import Section, View, flat_rows


def _view(inputs: ReportInputs) -> View:
    rows = compute_groups(inputs.results)
    return {"compute": rows} if len(rows) > 1 else None


SECTION = Section(
    "compute",
    "Compute",
    _view,
    lambda results: {"compute": flat_rows(compute_groups(results), "seed_differences")},
)
