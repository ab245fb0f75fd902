"""Cut a long text into pieces at paragraph boundaries.

A piece ends at the first paragraph end past `min_characters`; where the paragraph goes on past `max_characters`, at the
last sentence end that fits, else at the last white space, else hard. A rest shorter than the minimum stays with the
last piece where both fit, otherwise the last two pieces share their text about evenly. Pieces are substrings of the
text, in order; only white space between them is dropped. A text shorter than the minimum is one piece.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from megadocs.text.characters import cut_position

_PARAGRAPH_END = re.compile(r"\n[^\S\n]*\n\s*")
_SENTENCE_END = re.compile(r"(?:[.!?][\"'”’)\]]*\s+|[。！？][”’」』）]*\s*)")
_WHITE_SPACE = re.compile(r"\s+")


def cut_pieces(text: str, min_characters: int, max_characters: int) -> list[str]:
    """The pieces of `text`, none longer than `max_characters`, in linear time."""
    return list(_iter_pieces(text.strip(), min_characters, max_characters))


def _iter_pieces(text: str, low: int, high: int) -> Iterator[str]:
    start, end = 0, len(text)
    while start < end:
        cut = _next_cut(text, start, end, low, high)
        piece = text[start:cut].strip()
        if piece:
            yield piece
        start = cut
        while start < end and text[start].isspace():
            start += 1


def _next_cut(text: str, start: int, end: int, low: int, high: int) -> int:
    """Where the piece that begins at `start` ends and the next one may begin."""
    remaining = end - start
    if remaining <= high and remaining < 2 * low:
        return end
    first, last = start + low, min(start + high, end)
    paragraph = _PARAGRAPH_END.search(text, first, last)
    if paragraph and end - paragraph.end() >= low:
        return paragraph.end()
    if remaining <= high:
        return end
    if remaining - high >= low:
        return _last_break(text, first, last)
    # A full piece would leave a rest below the minimum: these two pieces share what remains.
    first, last = max(first, end - high), min(last, end - low)
    if first > last:  # the minimum is more than half of the maximum: the second piece cannot reach it
        first, last = end - high, start + high
    return _break_nearest(text, (start + end) // 2, first, last)


def _last_break(text: str, first: int, last: int) -> int:
    for pattern in (_SENTENCE_END, _WHITE_SPACE):
        ends = [match.end() for match in pattern.finditer(text, first, last)]
        if ends:
            return ends[-1]
    return cut_position(text, last, after=first - 1)


def _break_nearest(text: str, middle: int, first: int, last: int) -> int:
    for pattern in (_PARAGRAPH_END, _SENTENCE_END, _WHITE_SPACE):
        ends = [match.end() for match in pattern.finditer(text, first, last)]
        if ends:
            return min(ends, key=lambda position: abs(position - middle))
    return cut_position(text, min(max(middle, first), last), after=first - 1)
