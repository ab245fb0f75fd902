"""What becomes a document and what is rejected, by reason."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from megadocs.corpus.records import Intake, RejectedRecordError, clean_id, clean_text


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r"), min_size=1))
def test_valid_text_is_kept_exactly(text: str) -> None:
    if text.strip() and not text.startswith("\ufeff"):
        assert clean_text(text) == clean_text(text.encode()) == text


@pytest.mark.parametrize(
    "value, expected",
    [
        ("a\r\nb\rc\n", "a\nb\nc\n"),
        ("\ufeffa", "a"),
        (b"\xef\xbb\xbfa", "a"),
        ("a\x00b\u2028c\u0085", "a\x00b\u2028c\u0085"),
        ("😀", "😀"),
    ],
)
def test_line_ends_and_byte_order_mark(value: str | bytes, expected: str) -> None:
    assert clean_text(value) == expected


@pytest.mark.parametrize(
    "value, reason",
    [
        (None, "missing_text"),
        (5, "text_not_a_string"),
        (["a"], "text_not_a_string"),
        ("", "empty"),
        (" \n\u2028", "empty"),
        ("a\ud800", "lone_surrogate"),
        (b"caf\xe9", "invalid_utf8"),
        (b"\xed\xa0\x80", "invalid_utf8"),
    ],
)
def test_rejected_text(value: object, reason: str) -> None:
    with pytest.raises(RejectedRecordError) as caught:
        clean_text(value)
    assert caught.value.reason == reason


@pytest.mark.parametrize("value, expected", [("x", "x"), (7, "7"), (-(10**30), str(-(10**30))), (b"x", "x")])
def test_ids(value: object, expected: str) -> None:
    assert clean_id(value) == expected


@pytest.mark.parametrize(
    "value, reason",
    [
        (None, "missing_id"),
        ("", "missing_id"),
        (True, "id_not_a_string"),
        (1.5, "id_not_a_string"),
        ([], "id_not_a_string"),
        ("\udc00", "lone_surrogate_in_id"),
        ("x" * 5000, "id_too_long"),
        pytest.param(10**5000, "id_too_long", id="huge-integer"),
        (b"\xff", "invalid_utf8_in_id"),
    ],
)
def test_rejected_ids(value: object, reason: str) -> None:
    with pytest.raises(RejectedRecordError) as caught:
        clean_id(value)
    assert caught.value.reason == reason


def test_intake_remembers_a_few_places() -> None:
    intake = Intake()
    for number in range(20):
        intake.reject("empty", f"f:{number}")
    assert intake.to_json()["rejected"] == {"empty": 20}
    assert intake.to_json()["rejected_examples"] == {"empty": ["f:0", "f:1", "f:2", "f:3", "f:4"]}
