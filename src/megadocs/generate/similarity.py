"""How alike two texts are: shared runs of words."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Self

_WORD = re.compile(r"\w+")
_RUN_WORDS = 5
NEAR_COPY_SHARE = 0.7


def word_runs(text: str, length: int = _RUN_WORDS) -> set[tuple[str, ...]]:
    """The distinct runs of `length` consecutive lower-case words."""
    words = [word.lower() for word in _WORD.findall(text)]
    return {tuple(words[start : start + length]) for start in range(len(words) - length + 1)}


@dataclass(frozen=True, slots=True)
class Comparable:
    """A text with its runs of words, for comparing it with many others."""

    text: str
    runs: set[tuple[str, ...]]

    @classmethod
    def of(cls, text: str) -> Self:
        """The text's runs, computed once."""
        return cls(text, word_runs(text))

    def is_near_copy(self, other: Comparable) -> bool:
        """Whether at least 70 % of the shorter text's five-word runs stand in the other (short texts: equality)."""
        if not self.runs or not other.runs:
            return self.text == other.text
        return len(self.runs & other.runs) >= NEAR_COPY_SHARE * min(len(self.runs), len(other.runs))
