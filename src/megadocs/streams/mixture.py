"""The mixture: which windows each optimiser step sees, as a pure function of the step.

    mixture = build_mixture(streams, config=recipe.mixture, train=recipe.train, seed=0)
    mixture.window_ids(step)           # batch_size WindowIds; needs no loader state, knows no world size
    tokens, segments = mixture.read_batch(step)        # (B, T) int32 each; segments None unless a boundary is set

Counts are exact over the run: after block b a stream has given floor((b + 1) * block * share) windows, the last
stream the rest. Within a block the order is a permutation keyed by the block's index. docs/ordering.md is the
specification; `rounding: levanter` truncates within each block instead, as the authors' runs did.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from megadocs.errors import RecipeError
from megadocs.kinds.ordering import Int64Array
from megadocs.kinds.sorting import hash_order
from megadocs.seeding import derive_seed
from megadocs.streams.gather import byte_views, gather, merge_pieces
from megadocs.streams.shares import Shares
from megadocs.streams.stream import Boundary, Stream, WindowId


@dataclass(frozen=True, slots=True)
class StreamExposure:
    """What a run takes from one stream."""

    name: str
    num_windows: int  # windows of one epoch
    num_tokens: int  # tokens of one epoch, the dropped tail included
    num_dropped_tokens: int  # tokens of each epoch in no window
    num_samples: int  # windows given over the run
    planned_epochs: float  # epochs by the shares, before rounding
    actual_epochs: float  # num_samples / num_windows
    num_missing: int  # generations the stream lacks


class Mixture:
    """Windows of several streams, block by block.

    Args:
        streams: in slot order; the first is the real stream where there is one.
        shares: exact windows of each stream in each block.
        num_steps: optimiser steps of the run.
        batch_size: windows of a step, over all ranks.
        requested_block_windows: the block before it was shrunk to what the streams hold.
        seed: the data seed.
        boundary: attention boundary; None for cross-document attention.
    """

    def __init__(
        self,
        streams: Sequence[Stream],
        shares: Shares,
        *,
        num_steps: int,
        batch_size: int,
        requested_block_windows: int,
        seed: int,
        boundary: Boundary | None = None,
    ) -> None:
        self.streams = tuple(streams)
        self.shares = shares
        self.num_steps = num_steps
        self.batch_size = batch_size
        self.block_windows = shares.block_windows
        self.requested_block_windows = requested_block_windows
        self.boundary = boundary
        self.context_length = streams[0].context_length
        self._seed = seed
        self._by_name = {stream.name: stream for stream in streams}
        self._block_order = lru_cache(maxsize=2)(self._build_block_order)
        stores = {id(stream.tokens): stream.tokens for stream in streams}  # streams of one store share its arrays
        first_of_store = dict(zip(stores, np.cumsum([0, *map(len, stores.values())]).tolist(), strict=False))
        self._views = [view for tokens in stores.values() for view in byte_views(tokens)]
        self._first_views = [first_of_store[id(stream.tokens)] for stream in streams]

    def window_ids(self, step: int) -> list[WindowId]:
        """The windows of a step, in order; any step, in any sequence of calls."""
        owners, epochs, windows = self._windows_of_step(step)
        names = [self.streams[owner].name for owner in owners.tolist()]
        return [WindowId(*entry) for entry in zip(names, epochs.tolist(), windows.tolist(), strict=True)]

    def read_batch(
        self, step: int, *, rank: int = 0, world_size: int = 1
    ) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32] | None]:
        """Tokens and attention segments (or None) of a rank's part of a step, both (batch_size / world_size, T)."""
        if self.boundary is not None:
            windows = rank_part(self.window_ids(step), rank, world_size)
            return self.read_windows(windows), self.read_segments(windows)
        part = rank_slice(self.batch_size, rank, world_size)
        owners, epochs, numbers = (column[part] for column in self._windows_of_step(step))
        return self._read(owners, epochs, numbers), None

    def read_windows(self, windows: Sequence[WindowId]) -> npt.NDArray[np.int32]:
        """Tokens of any windows of these streams, in the order given, shape (B, T)."""
        owner_of_name = {stream.name: owner for owner, stream in enumerate(self.streams)}
        owners = np.array([owner_of_name[window.stream] for window in windows], dtype=np.int64)
        pairs = np.array([(window.epoch, window.window) for window in windows], dtype=np.int64).reshape(-1, 2)
        return self._read(owners, pairs[:, 0], pairs[:, 1])

    def read_segments(self, windows: Sequence[WindowId]) -> npt.NDArray[np.int32] | None:
        """Attention segments of the windows, shape (B, T); None when attention crosses documents (the paper)."""
        boundary = self.boundary
        if boundary is None:
            return None
        return np.stack(
            [self._by_name[window.stream].window_segments(window.epoch, window.window, boundary) for window in windows]
        )

    def exposures(self) -> list[StreamExposure]:
        """Planned and actual use of each stream over the whole run."""
        num_samples = self._samples_given()
        total = self.num_steps * self.batch_size
        return [
            StreamExposure(
                stream.name,
                stream.num_windows,
                stream.num_tokens,
                stream.num_dropped_tokens,
                given,
                float(total * share / stream.num_windows),
                given / stream.num_windows,
                stream.num_missing,
            )
            for stream, share, given in zip(self.streams, self.shares.shares, num_samples, strict=True)
        ]

    def real_document_exposures(self) -> float:
        """How often the run shows a real document: its own stream's epochs plus every stream's that holds it too."""
        return sum(
            exposure.actual_epochs * stream.copies_of_documents
            for exposure, stream in zip(self.exposures(), self.streams, strict=True)
        )

    def _windows_of_step(self, step: int) -> tuple[Int64Array, Int64Array, Int64Array]:
        """Index of the stream, epoch and window of each sample of a step, each (batch_size,)."""
        if not 0 <= step < self.num_steps:
            raise IndexError(f"step {step} is not within the {self.num_steps} steps of the run")
        # A block of 2,048 windows at shares 1/10 and 9/10 has its first 204 slots for the first stream (205 in four of
        # five blocks, so that the run's count is exact) and the rest for the second. The block's permutation says which
        # slots this step takes; a slot's number within its stream, over all blocks, names the stream's window.
        block, offset = divmod(step * self.batch_size, self.block_windows)
        slots = self._block_order(block)[offset : offset + self.batch_size]
        counts, given = self.shares.counts(block), self.shares.given_before(block)
        first_slots = np.cumsum([0, *counts])
        owners = np.searchsorted(first_slots, slots, side="right") - 1
        epochs, windows = np.empty_like(slots), np.empty_like(slots)
        for owner, stream in enumerate(self.streams):
            here = owners == owner
            epochs[here], windows[here] = stream.windows_at(slots[here] + (given[owner] - first_slots[owner]))
        return owners, epochs, windows

    def _read(self, owners: Int64Array, epochs: Int64Array, windows: Int64Array) -> npt.NDArray[np.int32]:
        parts = []
        for owner, stream in enumerate(self.streams):
            places = np.flatnonzero(owners == owner)
            if len(places):
                parts.append((stream.pieces(epochs[places], windows[places]), places, self._first_views[owner]))
        pieces = merge_pieces(parts)
        return gather(self._views, self.streams[0].token_dtype, pieces, self.context_length)

    def _samples_given(self) -> list[int]:
        """Windows each stream gives over the run; the last block may be cut short by the end of the run."""
        num_blocks, rest = divmod(self.num_steps * self.batch_size, self.block_windows)
        given = list(self.shares.given_before(num_blocks))
        if rest:
            slots = self._block_order(num_blocks)[:rest]
            first_slots = np.cumsum([0, *self.shares.counts(num_blocks)])
            owners = np.searchsorted(first_slots, slots, side="right") - 1
            inside = np.bincount(owners, minlength=len(given))
            given = [before + int(now) for before, now in zip(given, inside, strict=True)]
        return given

    def _build_block_order(self, block: int) -> npt.NDArray[np.int64]:
        return hash_order(derive_seed(self._seed, "block_order", block), self.block_windows)


def rank_part(windows: Sequence[WindowId], rank: int, world_size: int) -> Sequence[WindowId]:
    """Entries [rank * B / R, (rank + 1) * B / R) of a step's windows for rank `rank` of R."""
    return windows[rank_slice(len(windows), rank, world_size)]


def rank_slice(batch_size: int, rank: int, world_size: int) -> slice:
    """The part of a batch that belongs to a rank.

    Raises:
        RecipeError: the ranks do not divide the batch.
    """
    if batch_size % world_size:
        raise RecipeError(
            f"{world_size} ranks do not divide the batch of {batch_size} windows",
            where="train.batch_size",
            remedy=f"use a batch that is a multiple of {world_size}",
        )
    if not 0 <= rank < world_size:
        raise ValueError(f"rank {rank} is not within 0..{world_size - 1}")
    part = batch_size // world_size
    return slice(rank * part, (rank + 1) * part)
