"""Word hashes: one per word, by normalised content, the same everywhere."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from megadocs.text.words import normalized_bytes, word_hashes


@given(st.text())
def test_one_hash_per_word_equal_where_words_are_equal(text: str) -> None:
    text = text.encode("utf-8", "ignore").decode("utf-8")
    words = normalized_bytes(text).split()
    hashes = word_hashes(text).tolist()
    assert len(hashes) == len(words)
    assert len(set(hashes)) == len(set(words))
    assert all((hashes[0] == other) == (words[0] == word) for other, word in zip(hashes, words, strict=True))


@pytest.mark.parametrize(
    "one, other",
    [
        ("Hello, World!", "hello world"),
        ("a_b", "a b"),
        ("ﬁne Straße", "fine STRASSE"),
        ("“quoted”—dash", "quoted dash"),
        ("日本", "日 本"),
        ("line\nend\u2028x", "line end x"),
    ],
)
def test_normalised(one: str, other: str) -> None:
    assert word_hashes(one).tolist() == word_hashes(other).tolist()


def test_ascii_and_unicode_ways_agree() -> None:
    plain = "The 3 quick_brown foxes' tails"
    assert word_hashes(plain).tolist() == word_hashes(plain + " é").tolist()[:-1]


GOLDEN_THE = 3398803600661812687


def test_order_of_letters_counts_and_values_are_fixed() -> None:
    assert word_hashes("ab ba").tolist()[0] != word_hashes("ab ba").tolist()[1]
    assert word_hashes("the").tolist() == [GOLDEN_THE]


def test_empty_and_very_long() -> None:
    assert word_hashes("").tolist() == word_hashes(" .,!").tolist() == []
    assert len(word_hashes("x" * 100_000 + " y")) == 2
