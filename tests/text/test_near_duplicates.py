"""Near-duplicates by hand: a text with a few words changed is one, a text that shares a passage is none."""

from __future__ import annotations

import numpy as np
import pytest

from megadocs.text import near_duplicates
from megadocs.text.near_duplicates import near_duplicate_pairs
from megadocs.text.ngrams import ngram_hashes


def text_of(seed: int, num_words: int = 200) -> list[str]:
    return [f"w{number}" for number in np.random.default_rng(seed).integers(0, 5000, num_words)]


def pairs(*texts: list[str]) -> list[tuple[int, int, float]]:
    return near_duplicate_pairs([np.unique(ngram_hashes(" ".join(words))) for words in texts])


def test_a_changed_copy_is_found_with_its_share() -> None:
    copy = text_of(1)
    copy[100] = "other"
    ((first, second, share),) = pairs(text_of(2), text_of(1), text_of(3), copy)
    assert (first, second) == (1, 3)
    assert share == pytest.approx((188 - 13) / 188)


def test_a_part_of_a_longer_text_is_one_and_a_shared_passage_is_none() -> None:
    assert [pair[:2] for pair in pairs(text_of(1), text_of(1)[50:120])] == [(0, 1)]
    assert pairs(text_of(1), [*text_of(1)[:60], *text_of(4)]) == []


def test_too_short_to_judge_and_nothing_at_all() -> None:
    assert pairs(text_of(1, 16), text_of(1, 16)) == []  # four 13-grams
    assert pairs() == []


def test_what_many_hold_is_no_sign(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(near_duplicates, "MAX_HOLDERS", 3)
    header = text_of(9)
    assert pairs(*([*header, *text_of(seed, 20)] for seed in range(5))) == []
    assert len(pairs(*([*header, *text_of(seed, 20)] for seed in range(3)))) == 3
