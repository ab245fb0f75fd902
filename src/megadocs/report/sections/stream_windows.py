"""Sample windows: what a model reads in one go, row after row, in each stream.

Each document of a window has a colour of its own, distinct in light and dark and for the colour-blind, and a letter
that says the same without colour, so that siblings are seen side by side; a label and a rule stand where a row begins.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from megadocs.kinds import REAL, row_kind
from megadocs.report.inputs import ReportInputs, StreamWindow
from megadocs.report.section import Section, View, shown

if TYPE_CHECKING:
    from megadocs.streams import WindowPiece

_NUM_COLOURS = 6
_MAX_CHARACTERS = 6_000


def _view(inputs: ReportInputs) -> View:
    return shown("windows", [_window(window) for window in inputs.windows])


def _window(window: StreamWindow) -> dict[str, Any]:
    what = f"stream {window.stream}" if window.pieces else window.stream
    arms = f"arm{'s' if len(window.arms) > 1 else ''} {', '.join(window.arms)}"
    rows = _rows(window.pieces)
    return {
        "title": f"{what[0].upper()}{what[1:]} of {arms}",
        "summary": window.summary,
        "absent": window.absent,
        "rows": rows,
        "num_more": len(window.pieces) - len(rows),
    }


def _rows(pieces: Sequence[WindowPiece]) -> list[dict[str, Any]]:
    """The first rows, up to `_MAX_CHARACTERS` of text."""
    numbers: dict[str, int] = {}
    rows: list[dict[str, Any]] = []
    left = _MAX_CHARACTERS
    for piece in pieces:
        if left <= 0:
            break
        number = numbers.setdefault(piece.document_id, len(numbers))
        rows.append(
            {
                "colour": number % _NUM_COLOURS + 1,
                "is_real": piece.kind == REAL,
                "label": f"{_letter(number)}: {_label(piece)}",
                "document": piece.document_id[:40],
                "text": piece.text if len(piece.text) <= left else f"{piece.text[:left]} …",
            }
        )
        left -= len(piece.text)
    return rows


def _label(piece: WindowPiece) -> str:
    """`rephrase 1, 96 tokens`, with what lies outside the window."""
    kind = piece.kind.replace("_", " ")
    if piece.kind == REAL:
        what = "real document"
    elif row_kind(piece.kind).is_sampled:
        what = f"{kind} {piece.generation + 1}"
    else:
        what = f"{kind}, G = {piece.generation}"
    outside = ["begins before"] if not piece.begins else []
    outside += ["goes on after"] if not piece.ends else []
    more = f", {' and '.join(outside)}" if outside else ""
    return f"{what}, {piece.num_tokens} tokens{more}"


def _letter(number: int) -> str:
    """A, B, ..., Z, AA, AB, ..."""
    letter = chr(ord("A") + number % 26)
    return letter if number < 26 else _letter(number // 26 - 1) + letter


SECTION = Section("stream_windows", "Sample windows", _view)
