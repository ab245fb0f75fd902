"""Exact n-gram overlap between texts: does one hold passages of another?

Used by the audit that looks for held-out text in training data. An n-gram is n consecutive words (see `words`), held
as a 64-bit hash: with a billion n-grams on one side, one n-gram in 2 * 10**10 is counted by accident.

    index = build_ngram_index(validation_texts)          # 8 bytes per distinct 13-gram
    count_overlap(index, text)                           # how many of the text's 13-grams the index holds, of how many
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from megadocs.seeding import mix_array
from megadocs.text.words import word_hashes

Uint64Array = npt.NDArray[np.uint64]

DEFAULT_N = 13
_POSITION_BASE = np.uint64(0x9E3779B97F4A7C15)
_MERGE_AT = 1 << 22


@dataclass(frozen=True, slots=True)
class NgramIndex:
    """The distinct n-grams of a set of texts."""

    hashes: Uint64Array  # sorted distinct uint64, shape (N,)
    n: int  # words per n-gram


def ngram_hashes(text: str, n: int = DEFAULT_N) -> Uint64Array:
    """One uint64 per n-gram of `text`, in order, repeats included; shape (max(0, words - n + 1),)."""
    words = word_hashes(text)
    num_ngrams = len(words) - n + 1
    if num_ngrams <= 0:
        return np.empty(0, dtype=np.uint64)
    total = words[:num_ngrams].copy()
    for offset in range(1, n):
        total *= _POSITION_BASE
        total += words[offset : offset + num_ngrams]
    return mix_array(total)


def build_ngram_index(texts: Iterable[str], n: int = DEFAULT_N) -> NgramIndex:
    """Index the n-grams of `texts`; memory is about 16 bytes per distinct n-gram, whatever the number of texts."""
    known = np.empty(0, dtype=np.uint64)
    parts: list[Uint64Array] = []
    num_held = 0
    for text in texts:
        parts.append(ngram_hashes(text, n))
        num_held += len(parts[-1])
        if num_held >= max(_MERGE_AT, len(known)):  # doubling keeps the merges linear in all
            known, parts, num_held = _sorted_distinct([known, *parts]), [], 0
    return NgramIndex(_sorted_distinct([known, *parts]), n)


def _sorted_distinct(parts: list[Uint64Array]) -> Uint64Array:
    hashes = np.concatenate(parts)
    hashes.sort()  # several times faster than np.unique, which builds a hash table
    is_new = np.ones(len(hashes), dtype=np.bool_)
    np.not_equal(hashes[1:], hashes[:-1], out=is_new[1:])
    return hashes[is_new]
