"""Places of the tokens of a text that is too large to be tokenised at once.

spans, begin = TokenSpans(), 0
while begin < len(text):
    end = window_end(text, begin)
    spans.extend(offsets_of(text[begin:end]), begin)
    begin = end
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Iterable, Iterator, Sequence
from typing import overload

from megadocs.text.characters import cut_position

#: Characters of a text that are tokenised at once where only the places of its tokens are wanted.
WINDOW_CHARACTERS = 1_000_000
_BLANK_BEFORE_A_WORD = re.compile(r"(?<=\w) (?=\w)")
#: Characters before the end of a window in which it may end earlier.
_LOOK_BACK = 4096


def window_end(text: str, begin: int) -> int:
    """Where a window that begins at `begin` ends: before the last blank between two words, else between characters."""
    end = begin + WINDOW_CHARACTERS
    if end >= len(text):
        return len(text)
    blanks = [found.start() for found in _BLANK_BEFORE_A_WORD.finditer(text, max(begin + 1, end - _LOOK_BACK), end)]
    return blanks[-1] if blanks else cut_position(text, end, after=begin)


class TokenSpans(Sequence[tuple[int, int]]):
    """Pairs of integers at 16 bytes each: as tuples those of a text of 20 MB would take 600 MB."""

    def __init__(self) -> None:
        self._starts, self._ends = array("q"), array("q")

    def extend(self, pairs: Iterable[tuple[int, int]], shift: int) -> None:
        """Add pairs, both numbers `shift` further."""
        for start, end in pairs:
            self._starts.append(start + shift)
            self._ends.append(end + shift)

    def __len__(self) -> int:
        return len(self._starts)

    @overload
    def __getitem__(self, index: int) -> tuple[int, int]: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[tuple[int, int]]: ...
    def __getitem__(self, index: int | slice) -> tuple[int, int] | Sequence[tuple[int, int]]:
        if isinstance(index, slice):
            return list(zip(self._starts[index], self._ends[index], strict=True))
        return self._starts[index], self._ends[index]

    def __iter__(self) -> Iterator[tuple[int, int]]:
        return iter(zip(self._starts, self._ends, strict=True))
