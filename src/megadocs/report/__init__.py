"""The report: one self-contained HTML page from results, curves, samples and accounting. No torch, no file access."""

from megadocs.report.build import build_report
from megadocs.report.inputs import (
    Curve,
    Generated,
    GenerationAccount,
    ReportInputs,
    Sample,
    StepRecord,
    StreamAccount,
    StreamWindow,
)

__all__ = [
    "Curve",
    "Generated",
    "GenerationAccount",
    "ReportInputs",
    "Sample",
    "StepRecord",
    "StreamAccount",
    "StreamWindow",
    "build_report",
]
