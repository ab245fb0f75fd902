"""JSON for records and requests: orjson's text is that of the standard library, and what it refuses goes through."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from megadocs.generate.quick_json import decode_json, encode_json

CHARACTERS = st.text(st.characters(exclude_categories=()))  # lone surrogates among them
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | CHARACTERS,
    lambda inner: st.lists(inner) | st.dictionaries(CHARACTERS, inner),
)


@given(VALUES)
def test_a_value_comes_back_as_the_standard_library_gives_it_back(value: Any) -> None:
    text = encode_json(value)
    text.decode("utf-8")
    expected = json.loads(json.dumps(value))  # two halves of one character are joined
    assert decode_json(text) == json.loads(text) == expected


def test_the_text_is_that_of_older_records() -> None:
    """Ledgers written before are the same to the byte: keys sorted, no spaces, nothing escaped without need."""
    value = {"b": ['é\u2028\x00"\\/\n', ("x", 1.5)], "a": 2**64 - 1, "text": "\x7f\U0001f600"}
    assert encode_json(value) == json.dumps(value, ensure_ascii=False, separators=(",", ":"), sort_keys=True).encode(
        "utf-8"
    )


@pytest.mark.parametrize(
    ("data", "value"),
    [
        (b'"\\ud800"', "\ud800"),
        (b"\xef\xbb\xbf[1]", [1]),
        ("[1]".encode("utf-16"), [1]),
        (b"1e999", float("inf")),
        (b"-Infinity", float("-inf")),
        (b"100000000000000000000", 10**20),
    ],
)
def test_what_orjson_refuses_or_reads_otherwise(data: bytes, value: Any) -> None:
    assert decode_json(data) == value


@pytest.mark.parametrize("number", [2**63, 2**64 - 1, 2**64, 10**18, 10**400, -(2**63), -(2**63) - 1, -(2**64)])
def test_whole_numbers_of_any_size_stay_whole(number: int) -> None:
    found = decode_json(encode_json({"number": [number]}))["number"][0]
    assert type(found) is int and found == number


def test_what_is_no_json_is_a_value_error() -> None:
    for data in (b"", b"{", b"<html>", b'{"a":1}{'):
        with pytest.raises(ValueError, match=r"Expecting|Extra data"):
            decode_json(data)
    with pytest.raises(RecursionError):
        decode_json(b"[" * 5000)
