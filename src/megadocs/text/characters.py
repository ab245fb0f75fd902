"""Where a text may be cut: never inside a character as a reader sees it.

A letter with its accents, a family of emoji, a Hangul syllable of three code points, a line end of two are one
character (Unicode's extended grapheme clusters, UAX 29).
"""

from __future__ import annotations

import regex

_CHARACTER = regex.compile(r"\X")
#: Code points before a position that are looked at: the longest emoji sequence in use has ten.
_LOOK_BACK = 64


def cut_position(text: str, position: int, *, after: int = 0) -> int:
    """The last place at or before `position` that stands between two characters and behind `after`, else the next one.

    Args:
        position: where a cut is wanted, 0..len(text).
        after: the piece that the cut closes begins here, and is not to be empty.
    """
    if position <= 0 or position >= len(text):
        return max(0, min(position, len(text)))
    pair = text[position - 1 : position + 1]
    if position > after and pair.isascii() and pair != "\r\n":  # two characters whatever stands around them
        return position
    best: int | None = None
    for found in _CHARACTER.finditer(text, max(after, position - _LOOK_BACK)):
        if after < found.start() <= position:
            best = found.start()
        if found.end() > position:
            return best if best is not None else int(found.end())
    return len(text)
