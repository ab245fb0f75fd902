"""The report: one self-contained HTML page from results, curves, samples and accounting. No torch, no file access."""

from megadocs.report.build import build_report
from megadocs.report.inputs import (
    BenchmarkResult,
    Curve,
    Generated,
    GenerationAccount,
    ReportInputs,
    Sample,
    SearchCertificate,
    StepRecord,
    StreamAccount,
)

__all__ = [
    "BenchmarkResult",
    "Curve",
    "Generated",
    "GenerationAccount",
    "ReportInputs",
    "Sample",
    "SearchCertificate",
    "StepRecord",
    "StreamAccount",
    "build_report",
]
