"""Texts cut by the length limit are in the answer from more than 10 % on."""

from __future__ import annotations

from megadocs.analysis import truncation_sentences


def test_only_tasks_past_ten_percent_are_named() -> None:
    rows = [
        {"task": "rephrase", "ok": 100, "truncated": 37},
        {"task": "thought", "ok": 100, "truncated": 10},
        {"task": "sample", "ok": 0, "truncated": 0},
    ]
    (said,) = truncation_sentences(rows)
    assert said.startswith("The length limit cut 37 % of the rephrase texts: ")
    assert truncation_sentences(rows[1:]) == []
    (both,) = truncation_sentences([rows[0], {"task": "thought", "ok": 100, "truncated": 29}])
    assert both.startswith("The length limit cut 37 % of the rephrase texts and 29 % of the thought texts: ")
