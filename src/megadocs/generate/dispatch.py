"""Handing requests to lanes: all generations of a document to one lane, so that its slot keeps the common prompt.

Requests are made lazily and looked up in the ledger's index in chunks, so millions of them stay flat in memory. When
nothing is left to make, idle lanes take over what busy lanes still hold.
"""

from __future__ import annotations

import collections
import itertools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from megadocs.generate.accounting import Accounting
from megadocs.generate.ledger import LedgerIndex
from megadocs.generate.records import ERROR_NAMES, STATUS_NAMES, GenerationRecord, Status, flag_names
from megadocs.generate.requests import GenerationRequest

_CHUNK_REQUESTS = 1024


class Tally:
    """Counts over final records: statuses, flags, errors, tokens."""

    def __init__(self) -> None:
        self.counts: collections.Counter[str] = collections.Counter()
        self.flags: collections.Counter[str] = collections.Counter()
        self.errors: collections.Counter[str] = collections.Counter()

    def add(self, record: GenerationRecord) -> None:
        """Count one record."""
        self.counts[record.status] += 1
        self.counts["prompt_tokens"] += record.prompt_tokens
        self.counts["new_tokens"] += record.new_tokens
        self.counts["cached_tokens"] += record.cached_tokens
        self.flags.update(record.flags)
        if record.error is not None:
            self.errors[record.error] += 1

    def add_heads(self, head: Any) -> None:
        """Count index heads, an array of `HEAD_DTYPE`."""
        for code, count in zip(*np.unique(head["status"], return_counts=True), strict=True):
            self.counts[STATUS_NAMES[int(code)]] += int(count)
        for name, column in (("prompt_tokens", "prompt"), ("new_tokens", "new"), ("cached_tokens", "cached")):
            self.counts[name] += int(head[column].sum(dtype=np.int64))
        for bits, count in zip(*np.unique(head["flags"], return_counts=True), strict=True):
            for flag in flag_names(int(bits)):
                self.flags[flag] += int(count)
        for code, count in zip(*np.unique(head["error"], return_counts=True), strict=True):
            if code:
                self.errors[ERROR_NAMES[int(code)]] += int(count)

    def merge(self, other: Tally) -> None:
        """Add another tally to this one."""
        self.counts.update(other.counts)
        self.flags.update(other.flags)
        self.errors.update(other.errors)

    @property
    def done(self) -> int:
        """Records counted."""
        return sum(self.counts[name] for name in STATUS_NAMES.values())

    def accounting(self, requested: int, **invocation: Any) -> Accounting:
        """The books, with what only the run knows."""
        names = ("ok", "rejected", "failed", "skipped", "prompt_tokens", "new_tokens", "cached_tokens")
        values: dict[str, Any] = {name: self.counts[name] for name in names} | invocation
        flags, errors = dict(sorted(self.flags.items())), dict(sorted(self.errors.items()))
        return Accounting(requested=requested, flags=flags, errors=errors, **values)


def split_by_record(
    requests: Iterator[GenerationRequest], index: LedgerIndex, redo: frozenset[Status]
) -> Iterator[tuple[list[GenerationRequest], list[int], Any]]:
    """Requests in chunks: those to do, the attempts each has behind it, and the index heads of those done.

    Args:
        redo: statuses whose records are made anew (`failed` for `retry`).
    """
    while chunk := list(itertools.islice(requests, _CHUNK_REQUESTS)):
        positions = index.find([request.identity for request in chunk])
        done = positions >= 0
        if redo and len(index):
            status = index.head["status"][np.maximum(positions, 0)]
            codes = [code for code, name in STATUS_NAMES.items() if name in redo]
            done &= ~np.isin(status, codes)
        heads = index.head[positions[done]]
        todo = [request for request, is_done in zip(chunk, done, strict=True) if not is_done]
        before = [int(index.head["attempts"][position]) if position >= 0 else 0 for position in positions[~done]]
        yield todo, before, heads


class Dispatcher:
    """The requests without a record, for a number of lanes.

    Args:
        requests: in the order of sending, generations of a document together.
        index: what the ledger held at the start.
        redo: statuses made anew.
        steal: whether idle lanes take work from busy ones at the end.
    """

    def __init__(
        self, requests: Iterator[GenerationRequest], index: LedgerIndex, redo: frozenset[Status], *, steal: bool = True
    ) -> None:
        self._groups = self._grouped(requests, index, redo)
        self._held: dict[int, collections.deque[tuple[GenerationRequest, int]]] = {}
        self._steal = steal

    def next(self, lane: int) -> tuple[GenerationRequest, int] | None:
        """The next request of a lane and the attempts behind it; None when nothing is left for it."""
        held = self._held.setdefault(lane, collections.deque())
        if not held:
            group = next(self._groups, None)
            if group is not None:
                held.extend(group)
            elif self._steal:
                longest = max(self._held.values(), key=len)
                if longest:
                    return longest.pop()
        return held.popleft() if held else None

    @staticmethod
    def _grouped(
        requests: Iterator[GenerationRequest], index: LedgerIndex, redo: frozenset[Status]
    ) -> Iterator[list[tuple[GenerationRequest, int]]]:
        pairs = (
            pair
            for todo, before, _ in split_by_record(requests, index, redo)
            for pair in zip(todo, before, strict=True)
        )
        document: Callable[[tuple[GenerationRequest, int]], str] = lambda pair: pair[0].document_id  # noqa: E731
        for _, group in itertools.groupby(pairs, key=document):
            yield list(group)
