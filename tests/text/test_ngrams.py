"""n-gram overlap against a set of tuples of words."""

from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from megadocs.text.ngrams import NgramIndex, build_ngram_index, ngram_hashes


def count_overlap(index: NgramIndex, text: str) -> tuple[int, int]:
    """How many n-grams of a text the index holds, and how many the text has."""
    hashes = ngram_hashes(text, index.n)
    return int(np.isin(hashes, index.hashes).sum()), len(hashes)


WORDS = st.lists(st.sampled_from("abcd"), max_size=30)


def tuples(words: list[str], n: int) -> list[tuple[str, ...]]:
    return [tuple(words[start : start + n]) for start in range(len(words) - n + 1)]


@given(WORDS, WORDS, st.integers(1, 5))
def test_counts_equal_those_of_a_set_of_tuples(reference: list[str], words: list[str], n: int) -> None:
    known = set(tuples(reference, n))
    expected = sum(ngram in known for ngram in tuples(words, n))
    index = build_ngram_index([" ".join(reference)], n)
    assert len(index.hashes) == len(known)
    assert count_overlap(index, " ".join(words)) == (expected, max(0, len(words) - n + 1))


def test_thirteen_words_in_another_spelling_are_found_twelve_are_not() -> None:
    words = [f"word{index}" for index in range(13)]
    index = build_ngram_index([" ".join(words)])
    assert count_overlap(index, "Before, " + ", ".join(words).upper() + " after.") == (1, 3)
    assert count_overlap(index, "x " + " ".join(words[:12]) + " y") == (0, 2)
    assert count_overlap(index, " ".join(words[:12])) == (0, 0)


def test_index_does_not_depend_on_the_order_or_grouping_of_texts(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [" ".join(random.Random(seed).choices("abcdefgh", k=60)) for seed in range(40)]
    whole = build_ngram_index(texts, 3).hashes.tolist()
    monkeypatch.setattr("megadocs.text.ngrams._MERGE_AT", 100)
    assert build_ngram_index(texts[::-1], 3).hashes.tolist() == whole
    assert build_ngram_index([], 3).hashes.tolist() == []
    assert whole == sorted({value for text in texts for value in ngram_hashes(text, 3).tolist()})
