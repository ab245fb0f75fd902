"""Benchmark table and search certificates on the page."""

from __future__ import annotations

import dataclasses
import math

import pytest

from megadocs.report import BenchmarkResult, SearchCertificate, build_report
from megadocs.report.benchmarks import benchmark_table

from .fixtures_report import make_inputs

RESULTS = [
    BenchmarkResult("simple", 0, "piqa", 0.60, 100, 0.5),
    BenchmarkResult("simple", 1, "piqa", 0.64, 100, 0.5),
    BenchmarkResult("simple", 0, "sciq", 0.80, 200, 0.25),
    BenchmarkResult("simple", 1, "sciq", 0.82, 200, 0.25),
    BenchmarkResult("real_only", 0, "piqa", 0.55, 100, 0.5),
]


def test_error_and_its_standard_error_by_hand() -> None:
    table = benchmark_table(RESULTS, ["real_only", "simple"])
    assert table is not None
    real, simple = table["rows"]
    assert (real["arm"], real["cells"], real["error"]) == ("real_only", [0.55, None], None)
    assert simple["cells"] == pytest.approx([0.62, 0.81])
    assert simple["error"] == pytest.approx(1 - 0.715)
    assert simple["standard_error"] == pytest.approx(math.sqrt(0.62 * 0.38 / 100 + 0.81 * 0.19 / 200) / 2)
    assert benchmark_table([], ["simple"]) is None


def test_page_shows_benchmarks_and_certificates() -> None:
    neighbour = {"axis": "train.weight_decay", "value": 1.6, "is_extended": False, "verdict": "worse"}
    neighbour |= {"loss": 6.5, "margin": 0.06, "margin_error": 0.01, "num_pairs": 2}
    edge = {**neighbour, "verdict": None, "value": None, "loss": None, "margin": None, "margin_error": None}
    certificate = {
        "kind": "edge",
        "setting": {"train.weight_decay": 0.8},
        "loss": 6.44,
        "num_seeds": 2,
        "is_separated": True,
        "edges": ["train.weight_decay: 0.4"],
        "neighbours": [neighbour, edge],
        "num_trials": 9,
        "num_failed": 1,
    }
    inputs = dataclasses.replace(
        make_inputs(), benchmarks=RESULTS, certificates=[SearchCertificate("real_only", certificate)]
    )
    html = build_report(inputs)
    for words in ("Zero-shot accuracy", "0.285", "past the edge of the grid", "9 trials, 1 failed", "real_only: edge"):
        assert words in html
