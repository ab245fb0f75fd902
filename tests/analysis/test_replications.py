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


@pytest.mark.parametrize(
    ("replications", "arms", "what", "remedy"),
    [
        ([], ("a", "b"), "no replication to compare", "name at least one workspace with results.json"),
        ([make(2.0, 3.0)], ("simple", "simple"), "'simple' cannot be compared with itself", "name two arms"),
        (
            [make(2.0, 3.0)],
            ("merged", "simple"),
            "w has no finished run of the arm 'merged'",
            "choose from simple, stitched, or finish its runs",
        ),
        (
            [make(2.0, 3.0), {**make(2.0, 3.1), "sets": [{**make(2.0, 3.1)["sets"][0], "mode": "windowed"}]}],
            ("stitched", "simple"),
            "no set was scored for stitched and simple in every replication",
            "compare workspaces of one recipe (`megadocs report` scores what is missing)",
        ),
        (
            [make(2.0, 3.0), make("Infinity", 3.0, "c")],
            ("stitched", "simple"),
            "in c the loss of stitched or simple on test is not a number",
            "leave that replication out, or train it again at a lower train.learning_rate",
        ),
        (
            [make(2.0, 3.0), make(2.5, 3.6, "b"), make(2.0, 3.0, "c")],
            ("stitched", "simple"),
            "two replications have the same losses to the last digit: one was named twice",
            "name each workspace once",
        ),
    ],
)
def test_refusals_word_for_word(replications: list, arms: tuple[str, str], what: str, remedy: str) -> None:
    with pytest.raises(AnalysisError) as caught:
        replicated_differences(replications, *arms)
    assert (caught.value.what, caught.value.remedy) == (what, remedy)


def test_a_narrower_interval_at_less_confidence() -> None:
    rows = [
        replicated_differences(list(map(make, STITCHED, SIMPLE)), "stitched", "simple", level)[0]
        for level in (0.5, 0.95)
    ]
    expected = stats.ttest_rel(STITCHED, SIMPLE).confidence_interval(0.5)
    assert rows[0].interval == pytest.approx((expected.low, expected.high))
    assert rows[0].p_value == rows[1].p_value
