"""Accuracies, mean error and its standard error, by hand."""

from __future__ import annotations

import math

import pytest

from megadocs.analysis import BenchmarkScore, benchmark_results

SCORES = [
    BenchmarkScore("simple", 0, "piqa", 0.60, 100, 0.5),
    BenchmarkScore("simple", 1, "piqa", 0.64, 100, 0.5),
    BenchmarkScore("simple", 0, "sciq", 0.80, 200, 0.25),
    BenchmarkScore("simple", 1, "sciq", 0.82, 200, 0.25),
    BenchmarkScore("real_only", 0, "piqa", 0.55, 100, 0.5),
    BenchmarkScore("four_models", None, "piqa", 0.70, 100, 0.5),
    BenchmarkScore("four_models", None, "sciq", 0.90, 200, 0.25),
]


def test_error_and_its_standard_error_by_hand() -> None:
    table = benchmark_results(SCORES, ["real_only", "simple"])
    assert table is not None
    real, simple, ensemble = table["rows"]
    assert (real["arm"], real["cells"], real["error"], real["seed_errors"]) == ("real_only", [0.55, None], None, [])
    assert simple["cells"] == pytest.approx([0.62, 0.81])
    assert simple["error"] == pytest.approx(1 - 0.715)
    assert simple["standard_error"] == pytest.approx(math.sqrt(0.62 * 0.38 / 100 + 0.81 * 0.19 / 200) / 2)
    assert [row["error"] for row in simple["seed_errors"]] == pytest.approx([0.30, 0.27])
    assert (ensemble["arm"], ensemble["num_seeds"]) == ("four_models", 1)
    assert ensemble["error"] == pytest.approx(0.2)
    assert table["chance"] == [0.5, 0.25]


def test_nothing_scored_is_nothing() -> None:
    assert benchmark_results([], ["simple"]) is None
