"""The ledger: every generation's final record, append-only, durable, found by content identity.

A ledger is a folder of framed logs (`records-00000001.log`, ...; a new one every 256 MB) with one writer at a time.

    with Ledger(directory) as ledger:         # takes the lock, cuts a torn tail, scans what is there
        ledger.append(record); ledger.sync()
    index = load_index(directory)             # readers need no lock

Promises: a record counts once however often the run was killed (the last record of an identity wins, so a retried
failure replaces its record); what `sync` returned for survives power loss. The index holds 55 bytes a record in numpy
arrays: 5.2 million records are 290 MB.
"""

from __future__ import annotations

import contextlib
import os
import stat
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
import numpy.typing as npt

from megadocs.errors import DamagedError, StoreError
from megadocs.generate.records import HEAD_BYTES, GenerationRecord, decode_record, flag_names, record_head
from megadocs.store.files import make_directory, read_json, write_json_atomic
from megadocs.store.framed_log import DamagedRange, FramedLog, ScanResult, cut_out, read_frame, scan_frames
from megadocs.store.lock import hold_lock

SEGMENT_BYTES = 256 * 1024 * 1024

#: The head of a record (`records._HEAD`) as numpy reads it; the identity as two halves.
HEAD_DTYPE = np.dtype(
    {
        "names": "version high low status error replies flags prompt new cached attempts basis".split(),  # noqa: SIM905
        "formats": ["u1", ">u8", ">u8", "u1", "u1", "u1", "<u4", "<u4", "<u4", "<u4", "<u2", "<u8"],
        "offsets": [0, 1, 9, 17, 18, 19, 20, 24, 28, 32, 36, 38],
        "itemsize": HEAD_BYTES,
    }
)

#: What the index keeps of a head.
COUNTS_DTYPE = np.dtype(
    [(name, HEAD_DTYPE[name]) for name in HEAD_DTYPE.names or () if name not in ("version", "high", "low")]
)


@dataclass(frozen=True, slots=True)
class LedgerIndex:
    """Where the last record of every identity is, sorted by identity."""

    #: `high`, `low`: (N,) uint64 halves of the identities; `high` ascends.
    high: npt.NDArray[np.uint64]
    low: npt.NDArray[np.uint64]
    #: (N,) of `COUNTS_DTYPE`: status, error, number of replies, flags, token counts, attempts, basis.
    head: npt.NDArray[np.void]
    #: `segment`, `offset`: (N,) which file and where in it.
    segment: npt.NDArray[np.uint16]
    offset: npt.NDArray[np.uint64]
    paths: tuple[Path, ...]  # the segment files
    num_superseded: int  # records replaced by a later one of the same identity
    damaged: tuple[DamagedRange, ...] = ()  # byte ranges that hold no good record
    ends: tuple[int, ...] = ()  # end of the last good record of each segment file

    def __len__(self) -> int:
        return len(self.high)

    def find(self, identities: Sequence[str]) -> npt.NDArray[np.int64]:
        """Position of each identity (32 hex digits), -1 where there is no record."""
        raw = np.frombuffer(bytes.fromhex("".join(identities)), dtype=">u8").reshape(-1, 2).astype(np.uint64)
        return self.places(raw[:, 0], raw[:, 1])

    def places(self, high: npt.NDArray[np.uint64], low: npt.NDArray[np.uint64]) -> npt.NDArray[np.int64]:
        """As `find`, of identities as their two halves."""
        start = np.searchsorted(self.high, high)
        found = np.full(len(high), -1, dtype=np.int64)
        for step in range(_MAX_COLLISIONS):  # equal first halves (one in 2**64) stand side by side
            position = np.minimum(start + step, max(len(self.high) - 1, 0))
            if not len(self.high):
                break
            same_high = (self.high[position] == high) & (start + step < len(self.high))
            hit = same_high & (self.low[position] == low)
            found[hit] = position[hit]
            if not np.any(same_high & ~hit & (found < 0)):
                break
        return found

    def read(self, positions: npt.NDArray[np.int64]) -> Iterator[GenerationRecord | None]:
        """The records at the positions, in that order; None for -1 and for a record damaged since the scan."""
        with contextlib.ExitStack() as stack:
            descriptors: dict[int, int] = {}
            for position in positions.tolist():
                if position < 0:
                    yield None
                    continue
                number = int(self.segment[position])
                if number not in descriptors:
                    descriptors[number] = os.open(self.paths[number], os.O_RDONLY | os.O_CLOEXEC)
                    stack.callback(os.close, descriptors[number])
                try:
                    frame = read_frame(descriptors[number], int(self.offset[position]), str(self.paths[number]))
                    yield self._as_judged(position, decode_record(frame))
                except DamagedError:
                    yield None

    def _as_judged(self, position: int, record: GenerationRecord) -> GenerationRecord:
        """The record with the flags of its head, where those were found anew (`findings`)."""
        basis = int(self.head["basis"][position])
        if basis == record.basis:
            return record
        return replace(record, flags=tuple(sorted(flag_names(int(self.head["flags"][position])))), basis=basis)


_MAX_COLLISIONS = 8
_EXTENT = "extent.json"


@dataclass(slots=True)
class _Scan:
    """Heads and places gathered while reading segments."""

    heads: bytearray = field(default_factory=bytearray)
    offsets: array[int] = field(default_factory=lambda: array("Q"))
    counts: list[int] = field(default_factory=list)
    damaged: list[DamagedRange] = field(default_factory=list)
    ends: list[int] = field(default_factory=list)

    def on_frame(self, offset: int, payload: memoryview) -> None:
        head = record_head(payload)
        if head is None:
            raise DamagedError("the ledger holds a record of another version", remedy="use the megadocs that wrote it")
        self.heads += head
        self.offsets.append(offset)

    def forget_after(self, number: int) -> None:
        """Forget all but the first `number` frames."""
        del self.offsets[number:]
        del self.heads[number * HEAD_BYTES :]

    def end_segment(self, result: ScanResult) -> None:
        self.counts.append(len(self.offsets) - sum(self.counts))
        self.damaged += result.damaged
        self.ends.append(result.end)

    def index(self, paths: Sequence[Path]) -> LedgerIndex:
        head = np.frombuffer(self.heads, dtype=HEAD_DTYPE)
        high, low = head["high"].astype(np.uint64), head["low"].astype(np.uint64)
        order = np.lexsort((low, high))  # stable: of equal identities the last written is last
        high, low = high[order], low[order]
        is_last = np.ones(len(high), dtype=bool)
        is_last[:-1] = (high[1:] != high[:-1]) | (low[1:] != low[:-1])
        kept = order[is_last]
        del order
        counts = np.empty(len(kept), dtype=COUNTS_DTYPE)
        for name in COUNTS_DTYPE.names or ():
            counts[name] = head[name][kept]
        return LedgerIndex(
            high=high[is_last],
            low=low[is_last],
            head=counts,
            segment=np.repeat(np.arange(len(self.counts), dtype=np.uint16), self.counts)[kept],
            offset=np.frombuffer(self.offsets, dtype=np.uint64)[kept],
            paths=tuple(paths),
            num_superseded=int(len(high) - is_last.sum()),
            damaged=tuple(self.damaged),
            ends=tuple(self.ends),
        )


def segment_paths(directory: str | Path) -> list[Path]:
    """The ledger's log files in the order they were written."""
    return sorted(Path(directory).glob("records-*.log"))


def load_index(directory: str | Path) -> LedgerIndex:
    """Scan a ledger without locking it; a missing folder is an empty ledger. Torn tails are passed over."""
    paths, scan = segment_paths(directory), _Scan()
    for path in paths:
        scan.end_segment(scan_frames(path, scan.on_frame))
    return scan.index(paths)


def read_extent(directory: Path) -> dict[str, int]:
    """Bytes of good records in each segment file when a writer last closed the ledger; empty where none ever did."""
    path = directory / _EXTENT
    extent: dict[str, int] = read_json(path) if path.is_file() else {}
    return extent


def lost_tails(index: LedgerIndex, directory: Path) -> Iterator[DamagedRange]:
    """What was on disk when the ledger was last closed and cannot be read now: segments cut at their ends, or gone."""
    ends = {path.name: end for path, end in zip(index.paths, index.ends, strict=True)}
    for name, size in sorted(read_extent(directory).items()):
        if ends.get(name, 0) < size:
            yield DamagedRange(str(directory / name), ends.get(name, 0), size - ends.get(name, 0))


class Ledger:
    """The one writer of a ledger folder.

    Opening it cuts off the torn tail of a killed writer. Other damage is moved to `quarantine/`, so that the ledger is
    whole again; the records that it took are asked for again.

    Args:
        directory: made when missing.
        segment_bytes: size past which a new log file is begun.

    Raises:
        LockedError: another process is writing; the message names it.
        StoreError: the folder cannot be made, read or written.
    """

    def __init__(self, directory: str | Path, *, segment_bytes: int = SEGMENT_BYTES) -> None:
        self.directory = Path(directory)
        self.num_quarantined = 0
        self._segment_bytes = segment_bytes
        self._stack = contextlib.ExitStack()
        make_directory(self.directory)
        self._stack.enter_context(hold_lock(self.directory / "ledger.lock", purpose=f"the ledger {directory}"))
        try:
            paths, scan = segment_paths(self.directory), _Scan()
            extent = read_extent(self.directory)
            results = [self._read_segment(path, scan, extent.get(path.name, 0)) for path in paths]
            last = paths[-1] if paths else self._segment_path(1)
            self._log = FramedLog(last, seen=results[-1] if results else None)
            if extent:
                self._note_extent()
            self.index = scan.index(paths)
            self.torn_bytes = self._log.scan.torn_bytes
        except BaseException:
            self._stack.close()
            raise

    def append(self, record: GenerationRecord) -> None:
        """Hand a record to the kernel (survives this process); `sync` makes it survive the machine."""
        if self._log.size >= self._segment_bytes:
            number = int(self._log.path.stem.removeprefix("records-")) + 1
            self._log.close()
            self._log = FramedLog(self._segment_path(number))
        self._log.append(record.encode())

    def sync(self) -> None:
        """Force everything appended so far to disk. Safe to call from another thread than `append`."""
        self._log.sync()

    def close(self) -> None:
        """Sync, close, note how long the segments are, and let the lock go."""
        try:
            self._log.close()
            self._note_extent()
        finally:
            self._stack.close()

    def _read_segment(self, path: Path, scan: _Scan, extent: int) -> ScanResult:
        """Scan a segment, once where it is whole: damage is moved out of it, and it is read again.

        So is the tail of one that was longer when the ledger was last closed (`extent`): that was no torn write.
        """
        shared = stat.S_IMODE((self.directory / "ledger.lock").stat().st_mode)
        if stat.S_IMODE(path.stat().st_mode) != shared:  # older versions kept their colleagues out
            with contextlib.suppress(PermissionError):
                path.chmod(shared)
        num_before = len(scan.offsets)
        result = scan_frames(path, scan.on_frame)
        damage = result.damaged
        if result.torn_bytes and result.end < extent:
            damage = [*damage, DamagedRange(str(path), result.end, result.torn_bytes)]
        if damage:
            make_directory(self.quarantine)
            cut_out(path, damage, self.quarantine)
            self.num_quarantined += len(damage)
            scan.forget_after(num_before)
            result = scan_frames(path, scan.on_frame)
        scan.end_segment(result)
        return result

    @property
    def quarantine(self) -> Path:
        """Where damaged bytes are kept."""
        return self.directory / "quarantine"

    def _note_extent(self) -> None:
        with contextlib.suppress(StoreError):  # for `verify` alone: the records are safe without it
            sizes = {path.name: path.stat().st_size for path in segment_paths(self.directory)}
            write_json_atomic(self.directory / _EXTENT, sizes)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _segment_path(self, number: int) -> Path:
        return self.directory / f"records-{number:08d}.log"
