"""The log against cuts at every byte, flipped bytes, garbage and failing writes."""

from __future__ import annotations

import errno
import os
import random
from pathlib import Path

import pytest

from megadocs.errors import DamagedError, StoreError
from megadocs.store import framed_log
from megadocs.store.framed_log import MARKER, FramedLog, iter_frames, read_frame, scan_frames

FRAMES = [b"one", b"", b"three" * 7, MARKER[:2] + b"x", b"last"]


def write(path: Path, frames: list[bytes]) -> list[int]:
    with FramedLog(path) as log:
        return [log.append(frame) for frame in frames]


def test_round_trip_and_offsets(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    offsets = write(path, FRAMES)
    assert list(iter_frames(path)) == FRAMES
    with path.open("rb") as stream:
        assert [read_frame(stream.fileno(), offset) for offset in offsets] == FRAMES
        with pytest.raises(DamagedError):
            read_frame(stream.fileno(), offsets[2] + 1)
    umask = os.umask(0)
    os.umask(umask)
    assert path.stat().st_mode & 0o777 == 0o644 & ~umask  # as every other file of a workspace


def test_appends_after_reopening(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    write(path, FRAMES)
    seen: list[tuple[int, bytes]] = []
    with FramedLog(path, lambda offset, payload: seen.append((offset, bytes(payload)))) as log:
        assert [payload for _, payload in seen] == FRAMES
        log.append(b"more", flush=False)
        assert list(iter_frames(path)) == FRAMES  # still in memory
        log.sync()
        assert list(iter_frames(path)) == [*FRAMES, b"more"]


def test_cut_at_every_byte_keeps_whole_frames(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    offsets = write(path, FRAMES)
    data = path.read_bytes()
    ends = [*offsets[1:], len(data)]
    for cut in range(len(data) + 1):
        path.write_bytes(data[:cut])
        whole = sum(end <= cut for end in ends)
        with FramedLog(path) as log:
            assert log.scan.num_frames == whole
            assert log.scan.damaged == []
            log.append(b"new")
        assert list(iter_frames(path)) == [*FRAMES[:whole], b"new"]


def test_flipped_byte_loses_only_its_frame(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    offsets = write(path, FRAMES)
    data = bytearray(path.read_bytes())
    ends = [*offsets[1:], len(data)]
    for index in range(len(data)):
        for bit in (0, 7):
            damaged = bytearray(data)
            damaged[index] ^= 1 << bit
            path.write_bytes(damaged)
            hit = next(number for number, end in enumerate(ends) if index < end)
            result = scan_frames(path)
            assert list(iter_frames(path)) == FRAMES[:hit] + FRAMES[hit + 1 :]
            if hit + 1 < len(FRAMES):
                assert [(item.offset, item.length) for item in result.damaged] == [
                    (offsets[hit], ends[hit] - offsets[hit])
                ]
            else:
                assert result.torn_bytes == ends[hit] - offsets[hit]


def test_garbage_appended_is_cut_off(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    write(path, FRAMES)
    good = path.read_bytes()
    for garbage in (b"\0" * 5000, MARKER, MARKER * 9, MARKER + b"\xff\xff\xff\x03aaaa", b"text\n"):
        path.write_bytes(good + garbage)
        FramedLog(path).close()
        assert path.read_bytes() == good


def test_small_blocks_give_the_same_scan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = random.Random(7)
    frames = [rng.randbytes(rng.randrange(200)) for _ in range(300)]
    path = tmp_path / "a.log"
    offsets = write(path, frames)
    data = bytearray(path.read_bytes())
    for victim in (3, 50, 51, 200):
        data[offsets[victim] + 1] ^= 0xFF
    path.write_bytes(data)
    expected = [frame for number, frame in enumerate(frames) if number not in (3, 50, 51, 200)]
    for block in (17, 64, 1000, 1 << 20):
        monkeypatch.setattr(framed_log, "_READ_BYTES", block)
        assert list(iter_frames(path)) == expected
        assert len(scan_frames(path).damaged) == 3  # 50 and 51 are one range


def test_full_disk_stops_and_names_the_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.log"
    log = FramedLog(path)
    log.append(b"kept")
    real_write = os.write

    def short_then_full(descriptor: int, data: bytes) -> int:
        if len(data) > 8:
            return real_write(descriptor, bytes(data[:8]))
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "write", short_then_full)
    with pytest.raises(StoreError, match="No space left") as caught:
        log.append(b"lost" * 10)
    assert caught.value.where == str(path)
    assert caught.value.remedy is not None and "MB are free" in caught.value.remedy
    monkeypatch.undo()
    with pytest.raises(StoreError, match="cannot"):
        log.append(b"more")
    log.close()
    with FramedLog(path) as again:
        again.append(b"after")
    assert list(iter_frames(path)) == [b"kept", b"after"]


def test_failing_sync_is_never_forgotten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = FramedLog(tmp_path / "a.log")
    log.append(b"x")
    monkeypatch.setattr(os, "fdatasync", lambda _: (_ for _ in ()).throw(OSError(errno.EIO, "Input/output error")))
    with pytest.raises(StoreError, match="sync"):
        log.sync()
    monkeypatch.undo()
    with pytest.raises(StoreError, match="cannot"):
        log.sync()


def test_missing_folder_is_a_store_error(tmp_path: Path) -> None:
    with pytest.raises(StoreError):
        FramedLog(tmp_path / "none" / "a.log")
