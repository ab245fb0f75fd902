"""How alike two texts are: shared runs of words."""

from __future__ import annotations

import re

_WORD = re.compile(r"\w+")
_RUN_WORDS = 5
NEAR_COPY_SHARE = 0.7


def word_runs(text: str, length: int = _RUN_WORDS) -> set[tuple[str, ...]]:
    """The distinct runs of `length` consecutive lower-case words."""
    words = [word.lower() for word in _WORD.findall(text)]
    return {tuple(words[start : start + length]) for start in range(len(words) - length + 1)}


def is_near_copy(text: str, other: str) -> bool:
    """Whether at least 70 % of the shorter text's five-word runs stand in the other (short texts: equality)."""
    first, second = word_runs(text), word_runs(other)
    if not first or not second:
        return text == other
    return len(first & second) >= NEAR_COPY_SHARE * min(len(first), len(second))
