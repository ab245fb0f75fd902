"""A stream: ordered rows seen as one long text, cut lazily into windows, epoch after epoch.

    stream.num_windows                        # W: windows of one epoch
    epochs, windows = stream.windows_at(positions)     # positions count on over the epochs
    stream.windows_batch([(epoch, window), ...])       # (B, T) int32 tokens

Nothing is copied per stream: an epoch is a sequence of row indices and their running token counts; `gather.py` copies
the pieces of segments that a window crosses. W = floor(tokens / T); the tail is dropped, counted and never carried
over. Legend of shapes: B batch, T context length, R rows in stream order.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from decimal import Decimal
from functools import cached_property, lru_cache
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from megadocs.errors import RecipeError
from megadocs.kinds import row_kinds
from megadocs.kinds.ordering import Int64Array
from megadocs.kinds.sorting import hash_order
from megadocs.row_table import RowTable
from megadocs.seeding import derive_seed
from megadocs.streams.gather import Layout, Pieces, byte_views, gather, layout_pieces, merge_pieces

Boundary = Literal["row", "document"]


class WindowId(NamedTuple):
    """Which window: stream, the epoch whose row order it is cut from, and its place in that order."""

    stream: str
    epoch: int
    window: int


class Stream:
    """Windows over ordered rows.

    Args:
        name: enters the seed of the window order and every window id; unique within an arm.
        table: the row table.
        tokens: one array per segment of the table, plain ndarray views.
        order: epoch -> row indices in stream order; the same rows in every epoch.
        seed: the data seed.
        context_length: T.
        reorder_rows: draw the row order afresh each epoch; False keeps epoch 0's for ever.
        reshuffle_windows: draw the window order afresh each epoch.
        max_windows: keep this many windows of each permuted epoch.
        weight: share relative to the other synthetic streams.
        num_missing: generations that selection left out, for the accounts.

    Raises:
        RecipeError: the rows do not fill one window.
    """

    def __init__(
        self,
        name: str,
        table: RowTable,
        tokens: Sequence[npt.NDArray[np.generic]],
        order: Callable[[int], Int64Array],
        *,
        seed: int,
        context_length: int,
        reorder_rows: bool = False,
        reshuffle_windows: bool = False,
        max_windows: int | None = None,
        weight: Decimal = Decimal(1),
        num_missing: int = 0,
    ) -> None:
        self.name = name
        self.table = table
        self.context_length = context_length
        self.weight = weight
        self.num_missing = num_missing
        self.tokens = tokens
        self.token_dtype = _common_dtype(tokens)
        self._seed = seed
        self._reorder_rows = reorder_rows
        self._reshuffle_windows = reshuffle_windows
        self._order = lru_cache(maxsize=2)(order)
        self._layout = lru_cache(maxsize=2)(self._build_layout)  # a batch may straddle two epochs
        self._permutation = lru_cache(maxsize=2)(self._build_permutation)
        first = self._layout(0)
        self.num_rows = len(first.rows)
        self.num_tokens = int(first.ends[-1]) if self.num_rows else 0
        self.num_uncapped_windows = self.num_tokens // context_length
        if not self.num_uncapped_windows:
            raise RecipeError(
                f"the stream {name!r} has {self.num_tokens} tokens: less than one window of {context_length}",
                where="train.context_length",
                remedy="shorten the context or add documents",
            )
        self.num_windows = min(self.num_uncapped_windows, max_windows or self.num_uncapped_windows)

    @property
    def num_dropped_tokens(self) -> int:
        """Tokens of each epoch that no window shows: the tail, and what `max_windows` leaves out."""
        return self.num_tokens - self.num_windows * self.context_length

    @property
    def num_tail_tokens(self) -> int:
        """Tokens after the last full window."""
        return self.num_tokens - self.num_uncapped_windows * self.context_length

    @cached_property
    def copies_of_documents(self) -> float:
        """How often one epoch shows the text of each real document it holds (0: holds none)."""
        rows = self.order(0)
        holds_text = np.isin(self.table.kind[rows], [kind.code for kind in row_kinds() if kind.holds_document])
        documents = self.table.document_index[rows[holds_text]]
        distinct = np.count_nonzero(np.bincount(documents)) if len(documents) else 0
        return len(documents) / distinct if distinct else 0.0

    def order(self, epoch: int = 0) -> Int64Array:
        """Row indices of that epoch in stream order, shape (R,)."""
        return self._layout(self._order_epoch(epoch)).rows

    def layout(self, epoch: int = 0) -> Layout:
        """Rows of that epoch and where they lie."""
        return self._layout(self._order_epoch(epoch))

    def window_order(self, epoch: int = 0) -> Int64Array:
        """The epoch's windows in the order they are given out, shape (num_windows,)."""
        return self._permutation(epoch if self._reshuffle_windows else 0)

    def windows_at(self, positions: Int64Array) -> tuple[Int64Array, Int64Array]:
        """Epoch and window at positions that count on over the epochs, both (B,).

        Position p is entry `p % W` of epoch `p // W`'s window order.
        """
        epochs, entries = np.divmod(positions, self.num_windows)
        windows = np.empty_like(entries)
        for epoch in np.unique(epochs).tolist():
            here = epochs == epoch
            windows[here] = self.window_order(epoch)[entries[here]]
        return epochs, windows

    def window_tokens(self, epoch: int, window: int) -> npt.NDArray[np.int32]:
        """The window's tokens, shape (T,)."""
        tokens: npt.NDArray[np.int32] = self.windows_batch([(epoch, window)])[0]
        return tokens

    def windows_batch(self, windows: Sequence[tuple[int, int]]) -> npt.NDArray[np.int32]:
        """Tokens of several windows, given as (epoch, window) pairs, shape (B, T)."""
        pairs = np.array(windows, dtype=np.int64).reshape(-1, 2)
        pieces = self.pieces(pairs[:, 0], pairs[:, 1])
        return gather(byte_views(self.tokens), self.token_dtype, pieces, self.context_length)

    def pieces(self, epochs: Int64Array, windows: Int64Array) -> Pieces:
        """Where the tokens of windows (B,) of those epochs (B,) lie, in the order given."""
        if not self._reorder_rows:
            return layout_pieces(self._layout(0), windows, self.context_length)
        parts = []
        for epoch in np.unique(epochs).tolist():
            here = np.flatnonzero(epochs == epoch)
            parts.append((layout_pieces(self._layout(epoch), windows[here], self.context_length), here, 0))
        return merge_pieces(parts)

    def window_rows(self, epoch: int, window: int) -> tuple[Int64Array, Int64Array]:
        """Rows that the window crosses, and where each begins in it (0 for a fragment at the start); both (K,)."""
        layout = self.layout(epoch)
        begin = window * self.context_length
        first = int(np.searchsorted(layout.ends, begin, side="right"))
        last = int(np.searchsorted(layout.ends, begin + self.context_length, side="left"))
        begins = np.concatenate(([0], layout.ends[first:last] - begin))
        return layout.rows[first : last + 1], begins

    def window_segments(self, epoch: int, window: int, boundary: Boundary) -> npt.NDArray[np.int32]:
        """Attention segment of each token, shape (T,): 0, 1, ... from left to right; tokens see their own segment only.

        `row`: one segment a row; `document`: consecutive rows of one document share a segment. A fragment at the
        window's start is a segment of its own kind: what lies before the window is not in it.
        """
        rows, begins = self.window_rows(epoch, window)
        starts_segment = np.ones(len(rows), dtype=bool)
        if boundary == "document":
            documents = self.table.document_index[rows]
            starts_segment[1:] = documents[1:] != documents[:-1]
        marks = np.zeros(self.context_length, dtype=np.int32)
        marks[begins[starts_segment]] = 1
        segments: npt.NDArray[np.int32] = np.cumsum(marks, dtype=np.int32) - 1
        return segments

    def _order_epoch(self, epoch: int) -> int:
        return epoch if self._reorder_rows else 0

    def _build_layout(self, epoch: int) -> Layout:
        rows = self._order(epoch)
        ends = np.cumsum(self.table.num_tokens[rows], dtype=np.int64)
        if epoch and (len(rows) != self.num_rows or int(ends[-1]) != self.num_tokens):
            raise RecipeError(
                f"the ordering of stream {self.name!r} returns {len(rows)} rows in epoch {epoch}, {self.num_rows} in 0",
                where="stream.ordering",
                remedy="an ordering holds the same rows in every epoch; only their sequence may change",
            )
        shifts = self.table.start[rows] + self.table.num_tokens[rows] - ends
        return Layout(rows, ends, shifts, self.table.segment[rows])

    def _build_permutation(self, epoch: int) -> Int64Array:
        seed = derive_seed(self._seed, "window_order", self.name, epoch)
        return hash_order(seed, self.num_uncapped_windows)[: self.num_windows]


def _common_dtype(tokens: Sequence[npt.NDArray[np.generic]]) -> np.dtype[np.generic]:
    """The type of all token arrays; a store has one, by its vocabulary."""
    dtypes = {array.dtype for array in tokens if len(array)}
    if len(dtypes) > 1:
        raise ValueError(f"token arrays of several types: {', '.join(sorted(map(str, dtypes)))}")
    return dtypes.pop() if dtypes else np.dtype(np.uint32)
