"""Score tables as they are read: what no model can have written is refused, with the run that it is of."""

from __future__ import annotations

import math
from typing import Any

import pytest

from megadocs.analysis import scores_of_run
from megadocs.errors import AnalysisError


def columns(**changed: list[Any]) -> dict[str, list[Any]]:
    whole: dict[str, list[Any]] = {
        "set": ["test", "test"],
        "mode": ["alone", "alone"],
        "document_id": ["a", "b"],
        "num_tokens": [3, 5],
        "num_bytes": [9, 16],
        "sum_nll": [6.5, 9.25],
    }
    return {**whole, **changed}


def test_a_table_is_split_by_set_and_mode() -> None:
    (test, other) = scores_of_run("simple", 1, columns(set=["test", "long"]))[::-1]
    assert (test.set_name, test.document_ids, test.num_tokens.tolist(), test.sum_nll.tolist()) == (
        "test",
        ("a",),
        [3],
        [6.5],
    )
    assert (other.set_name, other.num_bytes.tolist()) == ("long", [16])


@pytest.mark.parametrize(
    ("changed", "what"),
    [
        ({"sum_nll": [6.5, -5.0]}, "negative"),
        ({"sum_nll": [6.5, -math.inf]}, "negative"),
        ({"num_tokens": [3, -1]}, "negative"),
        ({"num_bytes": [-9, 16]}, "negative"),
        ({"sum_nll": [None, 9.25]}, "sum_nll holds something that is no number"),
        ({"sum_nll": ["x", 9.25]}, "sum_nll holds something that is no number"),
        ({"num_tokens": [True, 5]}, "num_tokens holds something that is no number"),
        ({"document_id": ["a", "a"]}, "stands twice"),
    ],
)
def test_what_no_model_gives_is_refused(changed: dict[str, list[Any]], what: str) -> None:
    with pytest.raises(AnalysisError, match=what) as caught:
        scores_of_run("simple", 1, columns(**changed))
    assert caught.value.where == "scores of simple, seed 1"
    assert "run again" in str(caught.value.remedy)


def test_losses_that_are_not_numbers_are_kept_and_rounding_is_forgiven() -> None:
    (table,) = scores_of_run("simple", 1, columns(sum_nll=[math.nan, math.inf]))
    assert math.isnan(table.sum_nll[0]) and math.isinf(table.sum_nll[1])
    scores_of_run("simple", 1, columns(sum_nll=[-1e-6, 9.25]))
