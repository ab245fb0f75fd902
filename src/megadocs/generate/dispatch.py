"""Handing requests to lanes: all generations of a document to one lane, so that its slot keeps the common prompt.

Requests are made lazily and looked up in the ledger's index in chunks, so millions of them stay flat in memory. When
nothing is left to make, idle lanes take over what busy lanes still hold.
"""

from __future__ import annotations

import collections
import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from megadocs.generate.accounting import Accounting
from megadocs.generate.findings import note_flags, remembered
from megadocs.generate.judgement import iter_judged, verdict_of_bits
from megadocs.generate.ledger import COUNTS_DTYPE, LedgerIndex
from megadocs.generate.records import (
    ERROR_CODES,
    ERROR_NAMES,
    STATUS_CODES,
    STATUS_NAMES,
    GenerationRecord,
    flag_names,
)
from megadocs.generate.requests import GenerationRequest

_CHUNK_REQUESTS = 1024
_REJECTED = STATUS_CODES["rejected"]


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
        """The accounting, with what only the run knows."""
        names = ("ok", "rejected", "failed", "skipped", "prompt_tokens", "new_tokens", "cached_tokens")
        values: dict[str, Any] = {name: self.counts[name] for name in names} | invocation
        flags, errors = dict(sorted(self.flags.items())), dict(sorted(self.errors.items()))
        return Accounting(requested=requested, flags=flags, errors=errors, **values)


@dataclass(frozen=True, slots=True)
class Todo:
    """A request to be worked on, and what the ledger holds of it (replies that were sent back, a failure).

    `record` is what counts of it now where it only comes along with its document, which is looked at as a whole.
    """

    request: GenerationRequest
    stored: GenerationRecord | None
    record: GenerationRecord | None = None


def sort_requests(
    requests: Iterator[GenerationRequest], index: LedgerIndex, reopened: frozenset[str] = frozenset()
) -> Iterator[tuple[list[Todo], Tally]]:
    """Requests in chunks: those to be worked on, and the counts of those that stand as they are.

    Args:
        requests: all generations of a document together.
        reopened: statuses, classes of errors and flags whose rejected or failed generations are asked for again.

    Where the recipe watches siblings, a document of which anything is to be done comes as a whole: its texts are
    compared with each other anew.
    """
    first = next(requests, None)
    if first is None:
        return
    requests = itertools.chain([first], requests)
    if first.template.judge.watches_siblings:
        yield from _whole_documents(requests, index, reopened)
        return
    with remembered(index, first.template.judge.findings):
        while chunk := list(itertools.islice(requests, _CHUNK_REQUESTS)):
            todo, tally = [], Tally()
            for request, place in zip(chunk, _open_places(chunk, index, reopened, tally), strict=True):
                if place is not None:
                    todo.append((request, place))
            records = index.read(np.array([place for _, place in todo], dtype=np.int64))
            yield [Todo(request, stored) for (request, _), stored in zip(todo, records, strict=True)], tally


def _whole_documents(
    requests: Iterator[GenerationRequest], index: LedgerIndex, reopened: frozenset[str]
) -> Iterator[tuple[list[Todo], Tally]]:
    for _, group in itertools.groupby(iter_judged(requests, index), key=lambda judged: judged.request.document_id):
        of_document, tally = list(group), Tally()
        if any(judged.record is None or is_reopened(judged.record, reopened) for judged in of_document):
            yield [Todo(judged.request, judged.stored, judged.record) for judged in of_document], tally
            continue
        for judged in of_document:
            assert judged.record is not None
            tally.add(judged.record)
        yield [], tally


def _open_places(
    chunk: list[GenerationRequest], index: LedgerIndex, reopened: frozenset[str], tally: Tally
) -> list[int | None]:
    """For each request None where it stands, and is counted; else its place in the index (-1: none).

    Most records are judged by their heads: one reply, flags found as this recipe finds them. Others are read.
    """
    positions = index.find([request.identity for request in chunk])
    found = index.head[positions] if len(index) else np.zeros(len(chunk), dtype=COUNTS_DTYPE)
    is_skipped = np.array([request.skip is not None for request in chunk])
    judge = chunk[0].template.judge
    is_there = (positions >= 0) & ~is_skipped
    answered = is_there & (found["replies"] == 1) & (found["basis"] == judge.findings) & (found["status"] <= _REJECTED)
    stands, status = answered.copy(), found["status"].copy()
    for bits in np.unique(found["flags"][answered]).tolist():
        of_kind = answered & (found["flags"] == bits)
        verdict = verdict_of_bits(bits, judge.gates)
        status[of_kind] = STATUS_CODES["ok"] if verdict == "accept" else _REJECTED
        if verdict == "retry":
            stands[of_kind & (found["attempts"] < judge.max_attempts)] = False
        if verdict != "accept" and reopened & {"rejected", "quality", *flag_names(bits)}:
            stands[of_kind] = False
    counted = found[stands].copy()
    counted["status"] = status[stands]
    counted["error"] = np.where(counted["status"] == _REJECTED, ERROR_CODES["quality"], 0)
    tally.add_heads(counted)
    to_read = np.flatnonzero(is_skipped | (is_there & ~answered))
    open_places: list[int | None] = [None if at else int(place) for at, place in zip(stands, positions, strict=True)]
    for at, stored in zip(to_read.tolist(), index.read(np.where(is_skipped, -1, positions)[to_read]), strict=True):
        record = judge.judge(chunk[at], stored)
        if record is not None and stored is not None and judge.found_anew(stored, record):
            note_flags(index, int(positions[at]), record.flags, judge.findings)
        if record is not None and not is_reopened(record, reopened):
            tally.add(record)
            open_places[at] = None
    return open_places


def is_reopened(record: GenerationRecord, reopened: frozenset[str]) -> bool:
    """Whether a rejected or failed generation is to be asked for again: by its status, error or one of its flags."""
    return record.status in ("rejected", "failed") and bool(
        reopened & {record.status, str(record.error), *record.flags}
    )


class Dispatcher:
    """The requests that are to be worked on, for a number of lanes.

    Args:
        requests: in the order of sending, generations of a document together.
        reopened: see `sort_requests`.
        steal: whether idle lanes take work from busy ones at the end.
        num_batches: of an engine whose lanes share prompts: lanes of one batch take turns at its document's
            generations; None: each lane has documents of its own.
    """

    def __init__(
        self,
        requests: Iterator[GenerationRequest],
        index: LedgerIndex,
        reopened: frozenset[str],
        *,
        steal: bool = True,
        num_batches: int | None = None,
    ) -> None:
        self._groups = self._grouped(requests, index, reopened)
        self._held: dict[int, collections.deque[Todo]] = {}
        self._steal = steal
        self._num_batches = num_batches

    def next(self, lane: int) -> Todo | None:
        """The next request of a lane; None when nothing is left for it."""
        holder = lane if self._num_batches is None else lane % self._num_batches
        held = self._held.setdefault(holder, collections.deque())
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
        requests: Iterator[GenerationRequest], index: LedgerIndex, reopened: frozenset[str]
    ) -> Iterator[list[Todo]]:
        todo = (item for items, _ in sort_requests(requests, index, reopened) for item in items)
        for _, group in itertools.groupby(todo, key=lambda item: item.request.document_id):
            yield list(group)
