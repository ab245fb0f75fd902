"""Loss by position: how a model's loss falls as a document goes on, and what it loses past a given position.

    curve = loss_by_position(iter_alone_losses([model], [SINGLE], long_documents, context_length=4096))
    for low, high, mean in curve.rows(): ...
    late = collect_scores(data, "alone", iter_past(batches, 1024), 1)[0]      # per document, targets 1024.. only

Positions count a document's own tokens from 0 (its BOS, where it has one). `alone` losses give the curve that says
whether long context is used; in `windowed` losses a position's context may hold other documents or start late.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from megadocs.errors import InputError
from megadocs.evaluate.document_losses import TargetLosses


@dataclass(frozen=True, slots=True)
class PositionLosses:
    """Losses of P ranges of positions."""

    edges: npt.NDArray[np.int64]  # int64 (P,), first position of each range; the last has no end
    num_tokens: npt.NDArray[np.int64]  # int64 (P,), targets
    sum_nll: npt.NDArray[np.float64]  # float64 (P,), nats

    def rows(self) -> list[tuple[int, int | None, float | None]]:
        """(first position, first position of the next range or None, nats per token or None without targets)."""
        nexts: list[int | None] = [*self.edges[1:].tolist(), None]
        means = [nll / n if n else None for nll, n in zip(self.sum_nll.tolist(), self.num_tokens.tolist(), strict=True)]
        return list(zip(self.edges.tolist(), nexts, means, strict=True))

    def past(self, position: int) -> float | None:
        """Nats per token of the targets at `position` and after it; None when there are none.

        Raises:
            InputError: `position` is inside a range, not at its start.
        """
        if position not in self.edges:
            raise InputError(f"no range starts at {position}", remedy=f"one of {self.edges.tolist()}")
        later = self.edges >= position
        num_tokens = int(self.num_tokens[later].sum())
        return math.fsum(self.sum_nll[later]) / num_tokens if num_tokens else None


class PositionTotals:
    """Adds target losses up by ranges of positions, batch by batch, for each of A averages.

    Args:
        edges: first positions of the ranges, ascending from 0; None: 0, 1, 2, 4, 8, ... 2^30.
    """

    def __init__(self, num_averages: int, edges: Sequence[int] | None = None) -> None:
        self._bounds = np.array([0, *(2**i for i in range(31))] if edges is None else edges, dtype=np.int64)
        if len(self._bounds) == 0 or self._bounds[0] != 0 or (np.diff(self._bounds) <= 0).any():
            raise InputError(f"edges {self._bounds.tolist()}", remedy="ranges start at 0 and ascend")
        self._is_open = edges is None
        self._num_tokens = np.zeros(len(self._bounds), dtype=np.int64)
        self._sum_nll = np.zeros((num_averages, len(self._bounds)))

    def add(self, batch: TargetLosses) -> None:
        """Take in one batch."""
        place = np.searchsorted(self._bounds, batch.position, side="right") - 1
        self._num_tokens += np.bincount(place, minlength=len(self._bounds))
        for total, nll in zip(self._sum_nll, batch.nll, strict=False):
            total += np.bincount(place, weights=nll, minlength=len(self._bounds))

    def curves(self) -> list[PositionLosses]:
        """One curve per average; ranges of our own making end where the targets do."""
        used = len(self._bounds)
        if self._is_open and self._num_tokens.any():
            used = int(np.flatnonzero(self._num_tokens)[-1]) + 1
        return [PositionLosses(self._bounds[:used], self._num_tokens[:used], total[:used]) for total in self._sum_nll]


def loss_by_position(batches: Iterable[TargetLosses], edges: Sequence[int] | None = None) -> PositionLosses:
    """The first average's loss by ranges of positions (see `PositionTotals`).

    Args:
        batches: from `iter_alone_losses` or `iter_window_losses`.
        edges: first positions of the ranges, ascending from 0; None: 0, 1, 2, 4, 8, ... 2^30.
    """
    totals = PositionTotals(1, edges)
    for batch in batches:
        totals.add(batch)
    return totals.curves()[0]


def past_only(batch: TargetLosses, position: int) -> TargetLosses:
    """Only the targets at `position` of their document and after it."""
    late = batch.position >= position
    return TargetLosses(batch.document[late], batch.position[late], batch.context[late], batch.nll[:, late])


def iter_past(batches: Iterable[TargetLosses], position: int) -> Iterator[TargetLosses]:
    """`past_only` of every batch."""
    for batch in batches:
        yield past_only(batch, position)
