"""How alike two texts are: shared runs of words, in every script (`text.words`)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from megadocs.text.words import words

_RUN_WORDS = 5
NEAR_COPY_SHARE = 0.7


@dataclass(frozen=True, slots=True)
class Comparable:
    """A text with its runs of words, for comparing it with many others."""

    text: str
    runs: frozenset[tuple[str, ...]]

    @classmethod
    def of(cls, text: str) -> Self:
        """The text's runs, computed once."""
        found = words(text)
        return cls(text, frozenset(zip(*(found[start:] for start in range(_RUN_WORDS)), strict=False)))

    def is_near_copy(self, other: Comparable) -> bool:
        """Whether at least 70 % of the shorter text's five-word runs stand in the other (short texts: equality)."""
        if not self.runs or not other.runs:
            return self.text == other.text
        return len(self.runs & other.runs) >= NEAR_COPY_SHARE * min(len(self.runs), len(other.runs))
