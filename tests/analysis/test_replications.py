"""Differences over replications: a paired t-test with the corpus as the unit, against scipy on the pairs themselves."""

from __future__ import annotations

from typing import Any

import pytest
from scipy import stats

from megadocs.analysis.replications import replicated_differences
from megadocs.errors import AnalysisError

STITCHED = [2.66, 2.51, 2.73, 2.36, 2.47]
SIMPLE = [2.78, 2.99, 2.94, 2.92, 2.95]


def make(stitched: float, simple: float, name: str = "w") -> dict[str, Any]:
    losses = [{"arm": "stitched", "loss": stitched}, {"arm": "simple", "loss": simple}]
    late = [{"arm": "stitched", "loss": 1.0}, {"arm": "simple", "loss": 1.0 + simple}]
    sets = [
        {"set": "test", "mode": "alone", "losses": losses},
        {"set": "test_later_mention", "mode": "alone", "losses": late},
    ]
    return {"name": name, "sets": sets}


def test_the_test_is_scipy_s_on_the_pairs() -> None:
    rows = replicated_differences(list(map(make, STITCHED, SIMPLE)), "stitched", "simple")
    first = rows[0]
    expected = stats.ttest_rel(STITCHED, SIMPLE)
    assert first.p_value == pytest.approx(expected.pvalue, rel=1e-9)
    interval = expected.confidence_interval(0.95)
    assert first.interval == pytest.approx((interval.low, interval.high), rel=1e-9)
    assert first.differences == pytest.approx([a - b for a, b in zip(STITCHED, SIMPLE, strict=True)])
    assert [(row.set_name, row.mode) for row in rows] == [("test", "alone"), ("test_later_mention", "alone")]


def test_one_replication_has_no_test() -> None:
    (row, _) = replicated_differences([make(2.0, 3.0)], "stitched", "simple")
    assert (row.differences, row.mean, row.interval, row.p_value) == ((-1.0,), -1.0, None, None)


def test_two_replications_have_one() -> None:
    (row, _) = replicated_differences([make(2.0, 3.0), make(2.0, 3.5, "b")], "stitched", "simple")
    assert row.mean == pytest.approx(-1.25)
    assert row.interval == pytest.approx((-1.25 - 12.7062 * 0.25, -1.25 + 12.7062 * 0.25), rel=1e-4)


def test_an_arm_that_is_not_there_and_a_workspace_named_twice() -> None:
    with pytest.raises(AnalysisError, match="no finished run of the arm 'merged'"):
        replicated_differences([make(2.0, 3.0)], "merged", "simple")
    with pytest.raises(AnalysisError, match="named twice"):
        replicated_differences([make(2.0, 3.0)] * 2, "stitched", "simple")


def test_what_cannot_be_compared_is_refused_in_one_message():
    other_set = {**make(2.0, 3.0, "b"), "sets": [{**make(2.0, 3.0)["sets"][0], "set": "speeches"}]}
    for replications, arms, said in (
        ([], ("stitched", "simple"), "no replication"),
        ([make(2.0, 3.0)], ("simple", "simple"), "with itself"),
        ([make(2.0, 3.0), other_set], ("stitched", "simple"), "no set was scored"),
        ([make(2.0, 3.0), make("NaN", 3.1, "b")], ("stitched", "simple"), "in b the loss of stitched"),
    ):
        with pytest.raises(AnalysisError, match=said):
            replicated_differences(replications, *arms)
