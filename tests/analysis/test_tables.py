"""Score tables as they are read: what no model can have written is refused, with the run that it is of."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from megadocs.analysis import RunScores, scores_of_run
from megadocs.analysis.tables import build_block
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


AGAIN = "delete that evaluation's directory and run again: only this step is repeated"


@pytest.mark.parametrize(
    ("changed", "what"),
    [
        ({"sum_nll": [6.5, -5.0]}, "a negative count or loss in test/alone: no model gives that"),
        ({"num_bytes": [None, 16]}, "the column num_bytes holds something that is no number"),
        ({"document_id": ["a", "a"]}, "a document stands twice in test/alone"),
    ],
)
def test_each_refusal_names_its_column_or_set(changed: dict[str, list[Any]], what: str) -> None:
    with pytest.raises(AnalysisError) as caught:
        scores_of_run("simple", 1, columns(**changed))
    assert (caught.value.what, caught.value.where, caught.value.remedy) == (what, "scores of simple, seed 1", AGAIN)


def test_missing_columns_are_listed() -> None:
    some = {name: values for name, values in columns().items() if name in ("set", "mode", "num_tokens")}
    with pytest.raises(AnalysisError) as caught:
        scores_of_run("simple", 1, some)
    assert caught.value.what == "score columns missing: document_id, num_bytes, sum_nll"
    assert (caught.value.where, caught.value.remedy) == ("scores of simple, seed 1", AGAIN)


def test_a_tiny_negative_loss_is_rounding_by_the_token() -> None:
    assert scores_of_run("simple", 1, columns(sum_nll=[-0.0029, -0.0049]))[0].sum_nll.tolist() == [-0.0029, -0.0049]
    with pytest.raises(AnalysisError):
        scores_of_run("simple", 1, columns(sum_nll=[-0.0031, 1.0]))
    scores_of_run("simple", 1, columns(num_tokens=[0, 0], sum_nll=[-0.0009, 0.0]))


def table(arm: str, seed: int, ids: str = "ab", tokens: tuple[int, ...] = (3, 5), mode: str = "alone") -> RunScores:
    counts, nll = np.array(tokens), np.array([float(ord(name)) for name in ids])
    return RunScores(arm, seed, "test", mode, tuple(ids), counts, counts * 4, nll)


def test_runs_are_lined_up_by_document_and_sorted() -> None:
    block = build_block(
        [table("b", 0, "ba", (5, 3)), table("a", 1), table("a", 0), table("a", 9, mode="windowed")], "test", "alone"
    )
    assert (block.document_ids, block.runs) == (("a", "b"), (("a", 0), ("a", 1), ("b", 0)))
    assert block.sum_nll.tolist() == [[97.0, 98.0]] * 3
    assert (block.num_tokens.tolist(), block.num_bytes.tolist(), block.left_out) == ([3, 5], [12, 20], ())
    assert block.losses() == pytest.approx([195 / 8] * 3)
    assert block.bits_per_byte() == pytest.approx([195 / 32 / math.log(2)] * 3)
    assert (block.set_name, block.mode) == ("test", "alone")


def test_runs_that_differ_from_most_are_left_out_with_the_reason() -> None:
    odd = [table("c", 0, "abx", (3, 5, 7)), table("d", 0, "ab", (3, 6))]
    block = build_block([table("a", 0), *odd, table("b", 0)], "test", "alone")
    assert block.runs == (("a", 0), ("b", 0))
    assert block.left_out == (
        ("c", 0, "scored on other documents than the other runs"),
        ("d", 0, "other token counts: another tokenizer or context length"),
    )
    more = build_block([table("a", 0), odd[0]], "test", "alone")
    assert more.runs == (("c", 0),)  # of as many runs, those of more documents


@pytest.mark.parametrize(
    ("tables", "what", "remedy"),
    [
        ([table("a", 0, mode="windowed")], "no scores for test/alone", "evaluate at least one run on this set"),
        ([table("a", 0, "ab", (0, 0))], "the scores of test/alone hold no tokens", "use longer documents"),
        ([table("a", 0), table("a", 0)], "a run stands twice in test/alone", "pass every (arm, seed) once"),
    ],
)
def test_blocks_that_cannot_be(tables: list[RunScores], what: str, remedy: str) -> None:
    with pytest.raises(AnalysisError) as caught:
        build_block(tables, "test", "alone")
    assert (caught.value.what, caught.value.remedy) == (what, remedy)
