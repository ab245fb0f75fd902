"""Cutting into pieces: bounds, boundaries, nothing lost, linear."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from megadocs.corpus.pieces import cut_pieces

TEXTS = st.lists(st.sampled_from(["word ", "End. ", "x" * 7, "\n\n", "\n", "。", "  \n \n "]), max_size=60).map("".join)


def words_of(text: str) -> str:
    return "".join(text.split())


@given(TEXTS, st.integers(1, 40), st.integers(0, 60))
def test_pieces_are_substrings_in_order_and_lose_only_white_space(text: str, low: int, extra: int) -> None:
    pieces = cut_pieces(text, low, low + extra)
    position = 0
    for piece in pieces:
        assert piece == piece.strip() != ""
        assert len(piece) <= low + extra
        position = text.index(piece, position) + len(piece)
    assert words_of("".join(pieces)) == words_of(text)


@given(TEXTS, st.integers(1, 30))
def test_no_piece_is_shorter_than_the_minimum_by_more_than_its_white_space(text: str, low: int) -> None:
    pieces = cut_pieces(text, low, 2 * low)
    if len(pieces) > 1 and "\n" not in text:
        assert min(len(piece) for piece in pieces) >= low - 2  # trailing space of the cut


def test_a_piece_ends_at_the_first_paragraph_end_past_the_minimum() -> None:
    paragraphs = ["a" * 30, "b" * 30, "c" * 30, "d" * 60]
    assert cut_pieces("\n\n".join(paragraphs), 50, 100) == ["\n\n".join(paragraphs[:2]), "\n\n".join(paragraphs[2:])]


def test_a_long_paragraph_is_cut_at_a_sentence_end() -> None:
    sentence = "This is one sentence. "
    pieces = cut_pieces(sentence * 20, 60, 100)
    assert all(piece.endswith("sentence.") for piece in pieces)
    assert max(len(piece) for piece in pieces) <= 100


def test_a_short_rest_shares_with_the_piece_before() -> None:
    text = "word " * 26  # 129 characters: not 100 + 29
    assert [len(piece) for piece in cut_pieces(text, 60, 100)] == [64, 64]


def test_without_any_boundary_the_cut_is_hard() -> None:
    assert [len(piece) for piece in cut_pieces("x" * 250, 60, 100)] == [100, 75, 75]


@pytest.mark.parametrize(
    "text, expected", [("", []), (" \n\n ", []), ("short", ["short"]), ("\n\na\n\nb\n", ["a\n\nb"])]
)
def test_short_texts(text: str, expected: list[str]) -> None:
    assert cut_pieces(text, 600, 1200) == expected


def test_time_is_linear() -> None:
    text = ("A sentence of some words. " * 40 + "\n\n") * 4000  # 4 MB
    began = time.process_time()
    assert len(cut_pieces(text, 600, 1200)) >= 3600
    cut_pieces("\n" * 1_000_000 + "x" + " " * 1_000_000, 600, 1200)
    assert time.process_time() - began < 3
