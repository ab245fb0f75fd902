"""An append-only log of byte frames that survives kills, torn writes and damage.

Each frame is `marker (4) | length (4) | crc32 (4) | payload`, little-endian; the checksum covers length and payload.
The marker holds bytes that valid UTF-8 never contains, so a scan that meets damage finds the next good frame again and
loses only what the damage touched.

    with FramedLog(path) as log:      # truncates a torn tail before the first append
        log.append(b"...")            # handed to the kernel: survives SIGKILL of this process
        log.sync()                    # on disk: survives power loss; "done" counts only what is synced
    for frame in iter_frames(path): ...

Promises: a frame is returned whole or not at all; bytes after the last good frame are cut off on opening for append
(their writer died); other damage stays where it is and is listed by `scan_frames`. The log knows no schema and takes
no lock: one writer per file is the caller's duty (`store.lock`).
"""

from __future__ import annotations

import hashlib
import os
import struct
import threading
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

from megadocs.errors import DamagedError, StoreError
from megadocs.machine import sync_data, sync_file
from megadocs.store.files import fsync_directory, store_error, write_bytes_atomic

MARKER = b"\xf7MD\xff"
MAX_FRAME_BYTES = 64 * 1024 * 1024
_HEADER = struct.Struct("<4sII")
_LENGTH = struct.Struct("<I")
_READ_BYTES = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class DamagedRange:
    """Bytes `[offset, offset + length)` of a log that hold no good frame, with a good frame after them."""

    path: str
    offset: int
    length: int


@dataclass(slots=True)
class ScanResult:
    """What a scan saw: number of good frames, end of the last one, size of the file, damage between good frames."""

    num_frames: int = 0
    end: int = 0
    size: int = 0
    damaged: list[DamagedRange] = field(default_factory=list)

    @property
    def torn_bytes(self) -> int:
        """Bytes after the last good frame: the tail of a write that never finished."""
        return self.size - self.end


class FramedLog:
    """One log file open for appending.

    Args:
        path: the file; made when missing (its folder must exist).
        on_frame: called as `(offset, payload)` for each good frame found while opening, in order; the payload view is
            only valid during the call.
        seen: what a scan of the file saw, by the one who may write it and since the last write: it is not read again.

    Raises:
        StoreError: the file cannot be opened, read, cut, written or synced; the message names path and free bytes.
    """

    def __init__(
        self,
        path: str | Path,
        on_frame: Callable[[int, memoryview], None] | None = None,
        *,
        seen: ScanResult | None = None,
    ) -> None:
        self.path = Path(path)
        try:
            self._descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise store_error("cannot open the log", self.path, error) from error
        try:
            self.scan = seen if seen is not None else scan_frames(self.path, on_frame)
            if self.scan.torn_bytes:
                os.ftruncate(self._descriptor, self.scan.end)
                sync_file(self._descriptor)
            fsync_directory(self.path.parent)  # of a file that was there too: its maker may have died before this
        except OSError as error:
            os.close(self._descriptor)
            raise store_error("cannot repair the log", self.path, error) from error
        self._end = self.scan.end
        self._buffer = bytearray()
        self._error: StoreError | None = None  # the first failed write or sync: its tail is torn, so it is final
        self._lock = threading.Lock()  # append and sync may come from different threads

    @property
    def size(self) -> int:
        """Length of the log in bytes, appended frames included."""
        return self._end + len(self._buffer)

    def append(self, payload: bytes, *, flush: bool = True) -> int:
        """Add one frame and return its offset.

        Args:
            payload: at most `MAX_FRAME_BYTES` bytes.
            flush: hand it to the kernel now; False collects frames in memory until `flush` or `sync`.
        """
        if len(payload) > MAX_FRAME_BYTES:
            raise StoreError(f"a frame of {len(payload)} bytes is over {MAX_FRAME_BYTES}", where=str(self.path))
        length = _LENGTH.pack(len(payload))
        head = MARKER + length + _LENGTH.pack(zlib.crc32(payload, zlib.crc32(length)))
        with self._lock:
            offset = self.size
            self._buffer += head
            self._buffer += payload
            if flush:
                self._write_buffer()
        return offset

    def flush(self) -> None:
        """Hand collected frames to the kernel. After a failed write the log refuses to go on: its tail is torn."""
        with self._lock:
            self._write_buffer()

    def _write_buffer(self) -> None:
        if self._error is not None:
            raise self._error
        if not self._buffer:
            return
        data, self._buffer = bytes(self._buffer), bytearray()
        view, written = memoryview(data), 0
        try:
            while written < len(view):
                written += os.write(self._descriptor, view[written:])
        except OSError as error:
            self._error = store_error("cannot write the log", self.path, error)
            raise self._error from error
        self._end += len(data)

    def sync(self) -> None:
        """Flush, then force the log to disk (`sync_data`)."""
        self.flush()
        try:
            sync_data(self._descriptor)
        except OSError as error:
            # The kernel may have dropped the pages: they are never reported as durable later.
            self._error = store_error("cannot sync the log", self.path, error)
            raise self._error from error

    def close(self) -> None:
        """Sync and close; closing twice is harmless."""
        if self._descriptor < 0:
            return
        descriptor = self._descriptor
        try:
            if self._error is None:
                self.sync()
        finally:
            self._descriptor = -1
            os.close(descriptor)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def iter_frames(path: str | Path) -> Iterator[bytes]:
    """The payloads of all good frames in order; damage and a torn tail are passed over (see `scan_frames`)."""
    for _, payload in _iter_good(Path(path), ScanResult()):
        yield bytes(payload)


def scan_frames(path: str | Path, on_frame: Callable[[int, memoryview], None] | None = None) -> ScanResult:
    """Check every frame of a log; `on_frame(offset, payload view)` sees each good one."""
    result = ScanResult()
    for offset, payload in _iter_good(Path(path), result):
        if on_frame is not None:
            on_frame(offset, payload)
    return result


def cut_out(path: Path, ranges: Sequence[DamagedRange], quarantine: Path) -> None:
    """Move damaged ranges of a log that nobody writes into files of their own; what is left are good frames.

    The ranges are on disk in `quarantine` before the log is replaced, in one step.
    """
    data = path.read_bytes()
    kept, position = bytearray(), 0
    for damage in ranges:
        bad = data[damage.offset : damage.offset + damage.length]
        digest = hashlib.sha256(bad).hexdigest()[:8]
        write_bytes_atomic(quarantine / f"{path.stem}-{damage.offset}-{digest}.bin", bad)
        kept += data[position : damage.offset]
        position = damage.offset + damage.length
    kept += data[position:]
    write_bytes_atomic(path, bytes(kept))


def read_frame(descriptor: int, offset: int, path: str = "") -> bytes:
    """The payload of the frame at `offset`, by `pread` on an open descriptor.

    Raises:
        DamagedError: there is no good frame at that offset.
    """
    header = os.pread(descriptor, _HEADER.size, offset)
    if len(header) == _HEADER.size:
        marker, length, checksum = _HEADER.unpack(header)
        if marker == MARKER and length <= MAX_FRAME_BYTES:
            payload = os.pread(descriptor, length, offset + _HEADER.size)
            if len(payload) == length and zlib.crc32(payload, zlib.crc32(header[4:8])) == checksum:
                return payload
    raise DamagedError(f"no good frame at byte {offset}", where=path, remedy="run again: what is missing is made anew")


def _iter_good(path: Path, result: ScanResult) -> Iterator[tuple[int, memoryview]]:
    """Yield (offset, payload) of good frames and fill `result`. Reads the file in 4 MB blocks: memory stays flat."""
    try:
        with path.open("rb", buffering=0) as stream:
            yield from _scan_stream(stream.fileno(), str(path), result)
    except OSError as error:
        raise store_error("cannot read the log", path, error) from error


def _scan_stream(descriptor: int, name: str, result: ScanResult) -> Iterator[tuple[int, memoryview]]:
    size = result.size = os.fstat(descriptor).st_size
    base, block, position = 0, b"", 0  # `block` holds file bytes from `base`; `position` is an absolute offset
    lost_from: int | None = None
    while position < size:
        if position + _HEADER.size > base + len(block):
            base, block = position, os.pread(descriptor, _READ_BYTES, position)
        relative = position - base
        need = _frame_length(block, relative)
        if need is not None and relative + need > len(block) and position + need <= size:
            base, block, relative = position, os.pread(descriptor, max(need, _READ_BYTES), position), 0
        payload = _checked_payload(block, relative, need)
        if payload is None:
            lost_from = position if lost_from is None else lost_from
            position, base, block = _next_marker(descriptor, position + 1, base, block, size)
            continue
        if lost_from is not None:
            result.damaged.append(DamagedRange(name, lost_from, position - lost_from))
            lost_from = None
        assert need is not None
        result.num_frames += 1
        result.end = position + need
        yield position, payload
        position += need


def _frame_length(block: bytes, relative: int) -> int | None:
    """Length of the frame that starts at `relative`, header included; None when no frame can start there."""
    if relative + _HEADER.size > len(block):
        return None
    marker, length, _ = _HEADER.unpack_from(block, relative)
    return _HEADER.size + int(length) if marker == MARKER and length <= MAX_FRAME_BYTES else None


def _checked_payload(block: bytes, relative: int, need: int | None) -> memoryview | None:
    if need is None or relative + need > len(block):
        return None
    view = memoryview(block)
    checksum = zlib.crc32(
        view[relative + _HEADER.size : relative + need], zlib.crc32(view[relative + 4 : relative + 8])
    )
    if checksum != _LENGTH.unpack_from(block, relative + 8)[0]:
        return None
    return view[relative + _HEADER.size : relative + need]


def _next_marker(descriptor: int, start: int, base: int, block: bytes, size: int) -> tuple[int, int, bytes]:
    """Absolute offset of the next marker at or after `start` (or `size`), with the block that holds it."""
    while start < size:
        if not (base <= start and start + len(MARKER) <= base + len(block)):
            base, block = start, os.pread(descriptor, _READ_BYTES, start)
            if len(block) < len(MARKER):
                break
        found = block.find(MARKER, start - base)
        if found >= 0:
            return base + found, base, block
        start = base + len(block) - len(MARKER) + 1
        if base + len(block) >= size:
            break
    return size, base, block
