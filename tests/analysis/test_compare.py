"""Two runs side by side."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from megadocs.analysis.compare import compare_runs
from megadocs.errors import AnalysisError

from .fixtures_experiment import make_experiment


def scores_of(experiment, arm: str, seed: int = 0) -> list:
    return [table for table in experiment.scores if (table.arm, table.seed) == (arm, seed)]


def facts_of(experiment, arm: str) -> object:
    return next(run for run in experiment.runs if run.arm == arm)


def test_a_run_against_itself_is_exactly_equal() -> None:
    scores = scores_of(make_experiment(), "simple")
    for row in compare_runs(scores, scores).sets:
        assert (row.difference, row.interval, row.share_better) == (0.0, (0.0, 0.0), 0.0)


def test_a_better_run_is_better_and_what_differs_is_listed() -> None:
    experiment = make_experiment()
    facts = (facts_of(experiment, "real_only"), facts_of(experiment, "simple"))
    found = compare_runs(scores_of(experiment, "real_only"), scores_of(experiment, "simple"), facts)
    test = next(row for row in found.sets if (row.set_name, row.mode) == ("test", "windowed"))
    assert test.interval[0] < test.difference < test.interval[1] < 0
    assert test.share_better > 0.95
    assert found.settings["weight_decay"] == (0.8, 0.4)
    assert "real_tokens" not in found.facts
    assert "not seeds" in found.notes[0]


def test_order_of_documents_does_not_matter() -> None:
    experiment = make_experiment()
    first, second = scores_of(experiment, "real_only"), scores_of(experiment, "simple")
    turned = [
        dataclasses.replace(
            table,
            document_ids=table.document_ids[::-1],
            num_tokens=table.num_tokens[::-1],
            num_bytes=table.num_bytes[::-1],
            sum_nll=table.sum_nll[::-1],
        )
        for table in second
    ]
    assert compare_runs(first, turned) == compare_runs(first, second)


def test_other_tokenizers_are_compared_in_bits_per_byte() -> None:
    experiment = make_experiment()
    first = scores_of(experiment, "simple")
    second = [dataclasses.replace(table, num_tokens=table.num_tokens * 2) for table in first]
    found = compare_runs(first, second)
    assert {row.unit for row in found.sets} == {"bits per byte"}
    assert all(row.difference == 0 for row in found.sets)
    table = next(t for t in first if (t.set_name, t.mode) == ("test", "windowed"))
    row = next(r for r in found.sets if (r.set_name, r.mode) == ("test", "windowed"))
    assert row.first == pytest.approx(table.sum_nll.sum() / np.log(2) / table.num_bytes.sum())
    assert "bits per byte" in found.notes[1]


def test_other_documents_and_no_common_set_are_refused() -> None:
    first = scores_of(make_experiment(), "simple")
    with pytest.raises(AnalysisError, match="other documents"):
        compare_runs(first, [dataclasses.replace(t, document_ids=("x", *t.document_ids[1:])) for t in first])
    with pytest.raises(AnalysisError, match="share no"):
        compare_runs(first, [dataclasses.replace(t, set_name="wiki") for t in first])
