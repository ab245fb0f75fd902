"""Names of arms as labels: cut in the middle, because arms tend to differ at their ends, and never to the same text.

short_names(["stitched_g8_no_real_document", ...], most=24)     # name -> "stitched_g8_…al_document"
text_width("stitched_g8")                                       # pixels in a figure
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable

#: Letters of an arm's name in a table.
IN_TABLES = 32


def short_names(names: Iterable[str], most: int) -> dict[str, str]:
    """Each name with at most `most` letters (at least 8); where two are cut to the same text the cut is numbered."""
    found: dict[str, str] = {}
    for name in dict.fromkeys(names):
        short, number = middle_cut(name, most), 1
        while short in found.values():
            number += 1
            short = middle_cut(name, most, f"…{number}…")
        found[name] = short
    return found


def middle_cut(name: str, most: int, mark: str = "…") -> str:
    """The name, or its two ends around a mark where it is longer than `most` letters."""
    if len(name) <= most:
        return name
    kept = most - len(mark)
    tail = kept // 2
    return f"{name[: kept - tail]}{mark}{name[len(name) - tail :]}"


def text_width(text: str, size: float = 11.5) -> float:
    """Width in pixels to allow for bold sans-serif text of `size` pixels: an upper estimate by kind of letter.

    Letters of Liberation Sans and DejaVu Sans, bold, measured in ems: i, l 0.34; digits and a to z at most 0.72; m, w
    1.04; A to Z at most 0.84, M and W 1.1. Wide characters (Chinese, emoji) take an em.
    """
    return size * sum(map(_letter_width, text))


def _letter_width(letter: str) -> float:
    if unicodedata.combining(letter):
        return 0.0
    if letter in "ijl.,:;'|!()[] ":
        return 0.4
    if letter in "mwMW@%" or unicodedata.east_asian_width(letter) in "WF":
        return 1.1
    return 0.84 if letter.isupper() else 0.66
