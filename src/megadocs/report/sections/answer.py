"""The answer in sentences, and the figure of the worth in real data."""

from __future__ import annotations

from megadocs.report.figures import efficiency_figure
from megadocs.report.inputs import ReportInputs
from megadocs.report.section import Section, View


def _view(inputs: ReportInputs) -> View:
    return {"efficiency": efficiency_figure(inputs.results, inputs.results["sets"][0])}


SECTION = Section("answer", "The answer", _view)
