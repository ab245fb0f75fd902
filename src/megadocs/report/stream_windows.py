"""The report's section of sample windows: what a model reads in one go, row after row, in each stream.

    section = stream_windows_section(windows)         # Markup; empty when there are none

Each document of a window has a colour of its own (the page's six, told apart in light and dark and by the colour-blind;
a letter says the same without colour), so that siblings are seen side by side; a label and a rule stand where a row
begins. Text is escaped, hidden characters are spelled out. The style is in `CSS`, part of the page's one style sheet.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from megadocs.kinds import REAL, row_kind
from megadocs.report.wording import visible

_NUM_COLOURS = 6
_MAX_CHARACTERS = 6_000

CSS = """
.window { max-height: 30rem; overflow: auto; padding: .9rem 1rem; border: 1px solid var(--rule); }
.window .piece { display: block; padding-left: .8rem; border-left: 3px solid var(--c); white-space: pre-wrap;
  overflow-wrap: anywhere; font-size: .9063rem; line-height: 1.5; }
.window .piece + .piece { margin-top: .55rem; padding-top: .55rem; border-top: 1px solid var(--rule); }
.window .row-label { display: block; color: var(--c); font: 600 .75rem/1.5 var(--sans); white-space: normal; }
.window .piece.is-real { background: var(--faint); }
"""


@dataclass(frozen=True, slots=True)
class PieceOfRow:
    """The part of one row that lies in the window.

    Attributes:
        document_id: its source document.
        kind: kind of row.
        generation: of the row.
        num_tokens: tokens of the piece.
        begins: whether the row begins in this window.
        ends: whether it ends in it.
        text: decoded.
    """

    document_id: str
    kind: str
    generation: int
    num_tokens: int
    begins: bool
    ends: bool
    text: str


@dataclass(frozen=True, slots=True)
class StreamWindow:
    """A sample window of one stream.

    Attributes:
        arms: the arms whose streams begin so.
        stream: its name.
        window: number of the window, in stream order.
        summary: counts of the stream and of who shares windows, a line each.
        pieces: the rows of the window, in order.
        absent: why there is no window to show; else None.
    """

    arms: Sequence[str]
    stream: str
    window: int
    summary: Sequence[str] = ()
    pieces: Sequence[PieceOfRow] = ()
    absent: str | None = None


def stream_windows_section(windows: Sequence[StreamWindow]) -> Markup:
    """The section as HTML; empty without windows."""
    if not windows:
        return Markup("")
    head = Markup(
        '<section id="stream-windows" aria-labelledby="stream-windows-title">\n'
        '<h2 id="stream-windows-title">Sample windows</h2>\n'
        "<p>What the student reads in one go: the first window of each stream, row after row. Rows of one document "
        "share a colour and a letter; real documents stand on a tint.</p>\n"
    )
    parts = [_window(window, is_open=number == 0) for number, window in enumerate(windows)]
    return head + Markup("\n").join(parts) + Markup("\n</section>")


def _window(window: StreamWindow, *, is_open: bool) -> Markup:
    arms = f"arm{'s' if len(window.arms) > 1 else ''} {', '.join(window.arms)}"
    what = f"stream {window.stream}" if window.pieces else window.stream
    name = Markup("{} of {}").format(visible(f"{what[0].upper()}{what[1:]}"), visible(arms))
    summary = Markup("").join(Markup('<p class="note">{}</p>\n').format(line) for line in window.summary)
    if window.absent is not None:
        body = Markup('<p class="quiet">Not shown: {}</p>').format(visible(window.absent))
    else:
        body = Markup('<div class="window" tabindex="0">{}</div>').format(_pieces(window.pieces))
    return Markup("<details{}><summary>{}</summary>\n{}{}</details>").format(
        Markup(" open") if is_open else "", name, summary, body
    )


def _pieces(pieces: Sequence[PieceOfRow]) -> Markup:
    numbers: dict[str, int] = {}
    rows: list[Markup] = []
    left = _MAX_CHARACTERS
    for piece in pieces:
        number = numbers.setdefault(piece.document_id, len(numbers))
        if left <= 0:
            rows.append(Markup('<p class="quiet">… {} more rows</p>').format(len(pieces) - len(rows)))
            break
        text = piece.text if len(piece.text) <= left else f"{piece.text[:left]} …"
        left -= len(piece.text)
        rows.append(
            Markup('<div class="piece colour-{}{}"><span class="row-label">{}</span>{}</div>').format(
                number % _NUM_COLOURS + 1, " is-real" if piece.kind == REAL else "", _label(piece, number),
                visible(text),
            )
        )  # fmt: skip
    return Markup("").join(rows)


def _label(piece: PieceOfRow, number: int) -> Markup:
    """`A: rephrase 1, 96 tokens`, with what lies outside the window."""
    kind = piece.kind.replace("_", " ")
    if piece.kind == REAL:
        what = "real document"
    elif row_kind(piece.kind).is_sampled:
        what = f"{kind} {piece.generation + 1}"
    else:
        what = f"{kind}, G = {piece.generation}"
    outside = ["begins before"] if not piece.begins else []
    outside += ["goes on after"] if not piece.ends else []
    document = Markup(" · {}").format(visible(piece.document_id[:40]))
    more = f", {' and '.join(outside)}" if outside else ""
    return Markup("{}: {}, {} tokens{}{}").format(_letter(number), what, piece.num_tokens, more, document)


def _letter(number: int) -> str:
    """A, B, ..., Z, AA, AB, ..."""
    letter = chr(ord("A") + number % 26)
    return letter if number < 26 else _letter(number // 26 - 1) + letter
