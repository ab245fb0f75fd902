"""Settings, training curves and token counts of every arm."""

from __future__ import annotations

from megadocs.analysis.arm_settings import settings_table
from megadocs.report.figures import training_figure
from megadocs.report.inputs import ReportInputs
from megadocs.report.section import Section, View


def _view(inputs: ReportInputs) -> View:
    arms = inputs.results["arms"]
    return {"settings": settings_table(arms), "training": training_figure(inputs.results, inputs.curves)}


SECTION = Section("training", "Training", _view)
