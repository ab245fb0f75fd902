"""Looking at a stream: how much there is, who shares a window with whom, and what a window reads like.

    facts = describe_stream(stream)                      # counts and sharing statistics, as plain data
    sample = sample_window(stream, epoch=0, window=3, decode=tokenizer.decode)
    print(render_plain(facts, sample)); console.print(render_rich(facts, sample))

Sharing is what stitching changes: in a simple stream a document seldom meets its rephrases within the context, in a
stitched stream it nearly always does.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from megadocs.kinds import REAL, row_kind, row_kind_of_code, row_kinds
from megadocs.kinds.ordering import Int64Array
from megadocs.streams.stream import Stream

if TYPE_CHECKING:
    from rich.console import Group
    from rich.text import Text

_COLOURS = ("cyan", "green", "yellow", "magenta", "blue", "red")


@dataclass(frozen=True, slots=True)
class StreamFacts:
    """One stream in numbers (epoch 0; windows before any cap)."""

    name: str
    num_rows: int  # rows of an epoch
    num_documents: int  # distinct source documents
    num_tokens: int  # tokens of an epoch
    context_length: int  # T
    num_windows: int  # windows of an epoch, after `max_windows`
    num_tail_tokens: int  # tokens after the last window, dropped
    num_dropped_tokens: int  # the tail and whatever `max_windows` leaves out
    num_missing: int  # generations left out because they are missing
    rows_by_kind: dict[str, int]  # kind -> rows
    mean_rows_per_window: float  # rows that a window touches
    #: number of rows of one document in one window -> how many (window, document) pairs have it.
    siblings_per_window: dict[int, int]
    #: k -> how many times a window with (part of) a real document also has (parts of) k of its rephrases, or whatever
    #: else was written about it.
    rephrases_beside_real: dict[int, int]


@dataclass(frozen=True, slots=True)
class WindowPiece:
    """The part of one row that lies in a window."""

    document_id: str
    kind: str
    generation: int  # of the row
    num_tokens: int  # tokens of the piece
    begins: bool  # whether the row begins in this window
    ends: bool  # whether it ends in it
    text: str  # the decoded piece

    @property
    def label(self) -> str:
        """`document: kind generation`, with `...` where the row goes on outside the window."""
        name = self.kind if self.kind == REAL else f"{self.kind} {self.generation}"
        return f"{'' if self.begins else '... '}{self.document_id}: {name}{'' if self.ends else ' ...'}"


def describe_stream(stream: Stream) -> StreamFacts:
    """Counts and sharing statistics of a stream."""
    table, rows = stream.table, stream.order(0)
    windows, entries = _incidence(stream)
    kind = table.kind[rows]
    siblings, beside_real = _sharing(windows, table.document_index[rows][entries], kind[entries])
    codes, counts = np.unique(kind, return_counts=True)
    return StreamFacts(
        name=stream.name,
        num_rows=stream.num_rows,
        num_documents=len(np.unique(table.document_index[rows])),
        num_tokens=stream.num_tokens,
        context_length=stream.context_length,
        num_windows=stream.num_windows,
        num_tail_tokens=stream.num_tail_tokens,
        num_dropped_tokens=stream.num_dropped_tokens,
        num_missing=stream.num_missing,
        rows_by_kind={
            row_kind_of_code(code).name: count for code, count in zip(codes.tolist(), counts.tolist(), strict=True)
        },
        mean_rows_per_window=len(windows) / stream.num_uncapped_windows,
        siblings_per_window=siblings,
        rephrases_beside_real=beside_real,
    )


def sample_window(
    stream: Stream, *, epoch: int = 0, window: int = 0, decode: Callable[[npt.NDArray[np.int32]], str]
) -> list[WindowPiece]:
    """The window as pieces of rows, each decoded on its own.

    Args:
        decode: token ids -> text, a tokenizer's `decode`.
    """
    tokens = stream.window_tokens(epoch, window)
    rows, begins = stream.window_rows(epoch, window)
    ends = np.append(begins[1:], stream.context_length)
    layout = stream.layout(epoch)
    first = int(np.searchsorted(layout.ends, window * stream.context_length, side="right"))
    table, pieces = stream.table, []
    for entry, (row, begin, end) in enumerate(zip(rows.tolist(), begins.tolist(), ends.tolist(), strict=True)):
        row_end = int(layout.ends[first + entry]) - window * stream.context_length
        pieces.append(
            WindowPiece(
                document_id=table.document_ids[table.document_index[row]],
                kind=row_kind_of_code(int(table.kind[row])).name,
                generation=int(table.generation[row]),
                num_tokens=end - begin,
                begins=row_end - int(table.num_tokens[row]) >= 0,
                ends=row_end <= stream.context_length,
                text=decode(tokens[begin:end]),
            )
        )
    return pieces


def render_plain(facts: StreamFacts, pieces: Sequence[WindowPiece] = ()) -> str:
    """Both as lines of text, rows marked by their labels."""
    lines = [_headline(facts), *_sharing_lines(facts)]
    for piece in pieces:
        lines += [f"  --- {piece.label} ({piece.num_tokens} tokens)", piece.text]
    return "\n".join(lines)


def render_rich(facts: StreamFacts, pieces: Sequence[WindowPiece] = ()) -> Group:
    """Both for a terminal: each row of the window in a colour of its own, siblings in the same one."""
    from rich.console import Group
    from rich.text import Text

    parts = [Text(_headline(facts), style="bold"), *(Text(line) for line in _sharing_lines(facts))]
    return Group(*parts, *_coloured(pieces))


def _coloured(pieces: Sequence[WindowPiece]) -> list[Text]:
    from rich.text import Text

    colours: dict[str, str] = {}
    lines = []
    for piece in pieces:
        colour = colours.setdefault(piece.document_id, _COLOURS[len(colours) % len(_COLOURS)])
        line = Text(f"[{piece.label}] ", style=f"bold reverse {colour}")
        line.append(piece.text, style=f"bold {colour}" if piece.kind == REAL else colour)
        lines.append(line)
    return lines


def _headline(facts: StreamFacts) -> str:
    kinds = ", ".join(f"{count:,} {kind}" for kind, count in facts.rows_by_kind.items())
    missing = f", {facts.num_missing:,} generations missing" if facts.num_missing else ""
    return (
        f"{facts.name}: {facts.num_tokens:,} tokens, {facts.num_rows:,} rows ({kinds}) of {facts.num_documents:,} "
        f"documents, {facts.num_windows:,} windows of {facts.context_length} "
        f"({facts.num_dropped_tokens:,} tokens dropped{missing})"
    )


def _sharing_lines(facts: StreamFacts) -> list[str]:
    lines = [f"  rows in a window: {facts.mean_rows_per_window:.1f} on average"]
    lines.append(f"  rows that a document has in a window: {_shares(facts.siblings_per_window)}")
    if facts.rephrases_beside_real:
        lines.append(f"  rephrases in the window of their real document: {_shares(facts.rephrases_beside_real)}")
    return lines


def _shares(histogram: dict[int, int]) -> str:
    """ "always 1", or "none in 60.0 % of cases, 2 in 40.0 %"."""
    total = sum(histogram.values())
    parts = [(str(key) if key else "none", 100 * count / total) for key, count in histogram.items()]
    if len(parts) == 1:
        return f"always {parts[0][0]}"
    (first, share), *others = parts
    return ", ".join([f"{first} in {share:.1f} % of cases", *(f"{key} in {part:.1f} %" for key, part in others)])


def _incidence(stream: Stream) -> tuple[Int64Array, Int64Array]:
    """Pairs (window, entry of the order) for every row that touches a window, both (P,)."""
    length = stream.context_length
    ends = stream.layout(0).ends
    begins = np.concatenate(([0], ends[:-1]))
    first, last = begins // length, np.maximum(ends - 1, begins) // length
    counts = last - first + 1
    entries = np.repeat(np.arange(len(ends)), counts)
    offsets = np.arange(len(entries)) - np.repeat(np.cumsum(counts) - counts, counts)
    windows = first[entries] + offsets
    inside = windows < stream.num_uncapped_windows
    return windows[inside], entries[inside]


def _sharing(
    windows: Int64Array, documents: npt.NDArray[np.int32], kinds: npt.NDArray[np.uint8]
) -> tuple[dict[int, int], dict[int, int]]:
    """Histograms over (window, document) pairs: rows of the document; its generations where the document is there."""
    pair = windows * (int(documents.max(initial=0)) + 1) + documents
    _, group, sizes = np.unique(pair, return_inverse=True, return_counts=True)
    has_real = np.bincount(group, weights=kinds == row_kind(REAL).code) > 0
    is_sample = np.isin(kinds, [kind.code for kind in row_kinds() if kind.is_sampled and not kind.is_unconditional])
    num_samples = np.bincount(group, weights=is_sample).astype(np.int64)
    beside = num_samples[has_real] if is_sample.any() else np.empty(0, dtype=np.int64)
    return _histogram(sizes), _histogram(beside)


def _histogram(values: Int64Array) -> dict[int, int]:
    keys, counts = np.unique(values, return_counts=True)
    return dict(zip(keys.tolist(), counts.tolist(), strict=True))
