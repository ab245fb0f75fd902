"""The log against cuts at every byte, flipped bytes, garbage and failing writes."""

from __future__ import annotations

import errno
import hashlib
import os
import random
import struct
import zlib
from pathlib import Path

import pytest

from megadocs.errors import DamagedError, StoreError
from megadocs.store import framed_log
from megadocs.store.framed_log import (
    MARKER,
    DamagedRange,
    FramedLog,
    ScanResult,
    cut_out,
    iter_frames,
    read_frame,
    scan_frames,
)

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


def frame(payload: bytes) -> bytes:
    """A frame straight from the description of the format."""
    length = struct.pack("<I", len(payload))
    return b"\xf7MD\xff" + length + struct.pack("<I", zlib.crc32(length + payload)) + payload


def plain_scan(data: bytes, path: Path) -> tuple[ScanResult, list[tuple[int, bytes]]]:
    """The same by trying every byte in turn."""
    result, found, position, lost = ScanResult(0, 0, len(data), []), [], 0, None
    while position < len(data):
        length = int.from_bytes(data[position + 4 : position + 8], "little")
        payload = data[position + 12 : position + 12 + length]
        if len(payload) == length and data.startswith(frame(payload), position):
            if lost is not None:
                result.damaged.append(DamagedRange(str(path), lost, position - lost))
            lost = None
            found.append((position, payload))
            result.num_frames += 1
            position += 12 + length
            result.end = position
        else:
            lost = position if lost is None else lost
            position += 1
    return result, found


def test_the_bytes_of_a_log(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    log = FramedLog(str(path))
    assert (log.path, log.size, log.scan) == (path, 0, ScanResult(0, 0, 0, []))
    assert [log.append(b"one"), log.size] == [0, 15]
    assert path.read_bytes() == frame(b"one")  # handed over at once
    assert [log.append(b"", flush=False), log.append(b"\xff" * 200, flush=False), log.size] == [15, 27, 239]
    assert path.read_bytes() == frame(b"one")
    log.flush()
    log.flush()
    assert path.read_bytes() == frame(b"one") + frame(b"") + frame(b"\xff" * 200)
    assert [log.append(b"x"), log.size] == [239, 252]
    log.close()
    log.close()
    with FramedLog(path) as again:
        assert (again.size, again.scan) == (252, ScanResult(4, 252, 252, []))
        assert again.append(b"y", flush=False) == 252
    assert list(iter_frames(str(path))) == [b"one", b"", b"\xff" * 200, b"x", b"y"]  # closing hands over the rest


@pytest.mark.parametrize("block", [12, 13, 16, 29, 4096])
def test_scans_agree_with_trying_every_byte(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block: int) -> None:
    """Frames, parts of frames, markers with and without a frame behind them, and rubbish in any order."""
    monkeypatch.setattr(framed_log, "_READ_BYTES", block)
    rng, path = random.Random(block), tmp_path / "a.log"
    found: list[tuple[int, bytes]] = []
    seen = set()
    for _ in range(80):
        data = b""
        for _ in range(rng.randrange(7)):
            good = frame(rng.choice([b"", b"a", MARKER, MARKER[:3], b"longer " * 5, frame(b"inner")]))
            cut = rng.randrange(len(good))
            broken = good[:cut] + bytes([good[cut] ^ 1]) + good[cut + 1 :]
            data += rng.choice([good, good, good[:cut], good[cut:], broken, MARKER, MARKER[:2] * 3, b"rubbish"])
        path.write_bytes(data)
        expected, frames = plain_scan(data, path)
        found.clear()
        assert scan_frames(str(path), lambda offset, payload: found.append((offset, bytes(payload)))) == expected
        assert found == frames
        assert list(iter_frames(path)) == [payload for _, payload in frames]
        seen.add((bool(frames), len(expected.damaged), expected.torn_bytes > 0))
    assert len(seen) > 6


def test_a_log_of_rubbish_alone(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    path.write_bytes(b"12345")
    found = scan_frames(path)
    assert (found, found.torn_bytes) == (ScanResult(0, 0, 5, []), 5)
    FramedLog(path).close()
    assert path.read_bytes() == b""


def test_what_another_has_scanned_is_believed(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    path.write_bytes(frame(b"one") + b"torn")
    seen, called = scan_frames(path), []
    assert seen == ScanResult(1, 15, 19, [])
    with FramedLog(path, lambda *frame: called.append(frame), seen=seen) as log:
        assert log.scan is seen
        assert called == []
        assert log.append(b"two") == 15
    assert path.read_bytes() == frame(b"one") + frame(b"two")


def test_the_largest_frame(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.log"
    with FramedLog(path) as log:
        with pytest.raises(StoreError) as caught:
            log.append(bytes(64 * 2**20 + 1))
        assert caught.value.what == "a frame of 67108865 bytes is over 67108864"
        assert (caught.value.where, caught.value.remedy) == (str(path), None)
        log.append(b"123456789")
        monkeypatch.setattr(framed_log, "MAX_FRAME_BYTES", 8)
        log.append(b"12345678")
        with pytest.raises(StoreError, match=r"^a frame of 9 bytes is over 8\n"):
            log.append(b"987654321")
        assert list(iter_frames(path)) == [b"12345678"]
        assert scan_frames(path) == ScanResult(1, 41, 41, [DamagedRange(str(path), 0, 21)])
        with path.open("rb") as stream:
            assert read_frame(stream.fileno(), 21) == b"12345678"
            with pytest.raises(DamagedError):
                read_frame(stream.fileno(), 0)


def test_only_a_good_frame_is_read(tmp_path: Path) -> None:
    good = frame(b"payload")
    broken = [good[:at] + bytes([good[at] ^ 0x80]) + good[at + 1 :] for at in range(len(good))]
    for data in (*broken, good[:-1], good[:12], good[:11], b""):
        (tmp_path / "a.log").write_bytes(b"before" + data)
        with (tmp_path / "a.log").open("rb") as stream:
            with pytest.raises(DamagedError) as caught:
                read_frame(stream.fileno(), 6, "a.log")
            assert caught.value.what == "no good frame at byte 6"
            assert (caught.value.where, caught.value.remedy) == (
                "a.log",
                "run again: what is missing is made anew",
            )
            with pytest.raises(DamagedError) as caught:
                read_frame(stream.fileno(), 0)
            assert caught.value.where == ""
    (tmp_path / "a.log").write_bytes(b"before" + good + good)
    with (tmp_path / "a.log").open("rb") as stream:
        assert read_frame(stream.fileno(), 6) == read_frame(stream.fileno(), 25) == b"payload"


def test_damage_is_moved_out_and_the_rest_joined(tmp_path: Path) -> None:
    path = tmp_path / "segment-3.log"
    path.write_bytes(b"bad" + frame(b"one") + b"worse" + frame(b"two") + frame(b"three"))
    ranges = scan_frames(path).damaged
    assert ranges == [DamagedRange(str(path), 0, 3), DamagedRange(str(path), 18, 5)]
    (tmp_path / "out").mkdir()
    cut_out(path, ranges, tmp_path / "out")
    assert path.read_bytes() == frame(b"one") + frame(b"two") + frame(b"three")
    moved = {file.name: file.read_bytes() for file in (tmp_path / "out").iterdir()}
    digests = {content: hashlib.sha256(content).hexdigest()[:8] for content in (b"bad", b"worse")}
    assert moved == {
        f"segment-3-0-{digests[b'bad']}.bin": b"bad",
        f"segment-3-18-{digests[b'worse']}.bin": b"worse",
    }
    cut_out(path, [], tmp_path / "out")
    assert path.read_bytes() == frame(b"one") + frame(b"two") + frame(b"three")


REMEDY = "the disk is mounted read-only: copy the workspace to one that can be written"


def refuse(*_: object) -> int:
    raise OSError(errno.EROFS, "Read-only file system")


def test_every_refusal_of_the_disk_names_the_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.log"
    path.write_bytes(frame(b"one") + b"torn")
    for name, what in (("open", "open"), ("ftruncate", "repair")):
        with monkeypatch.context() as patch, pytest.raises(StoreError) as caught:
            patch.setattr(os, name, refuse)
            FramedLog(path)
        assert caught.value.what == f"cannot {what} the log: Read-only file system"
        assert (caught.value.where, caught.value.remedy) == (str(path), REMEDY)
    for name, act, what in (("write", "flush", "write"), ("fdatasync", "sync", "sync")):
        log = FramedLog(path)
        log.append(b"x", flush=False)
        with monkeypatch.context() as patch, pytest.raises(StoreError) as caught:
            patch.setattr(os, name, refuse)
            getattr(log, act)()
        assert caught.value.what == f"cannot {what} the log: Read-only file system"
        assert (caught.value.where, caught.value.remedy) == (str(path), REMEDY)
        for again in (log.sync, log.flush):
            with pytest.raises(StoreError) as same:
                again()
            assert same.value is caught.value
        log.close()
    for read in (lambda: scan_frames(tmp_path / "none"), lambda: list(iter_frames(tmp_path / "none"))):
        with pytest.raises(StoreError) as caught:
            read()
        assert caught.value.what == "cannot read the log: No such file or directory"
        assert (caught.value.where, caught.value.remedy) == (str(tmp_path / "none"), "check the path")


def test_a_log_that_cannot_be_repaired_is_not_left_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.log").write_bytes(b"torn")
    closed, real = [], os.close
    monkeypatch.setattr(framed_log, "sync_file", refuse)
    monkeypatch.setattr(os, "close", lambda descriptor: closed.append(descriptor) or real(descriptor))
    with pytest.raises(StoreError, match=r"^cannot repair the log: Read-only file system\n"):
        FramedLog(tmp_path / "a.log")
    assert len(closed) == 1
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(closed[0])


def test_what_is_synced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On opening the folder, before it the file whose tail was cut; then the file, when asked to and on closing."""
    path, synced = tmp_path / "a.log", []
    path.write_bytes(frame(b"one") + b"torn")
    for name in ("sync_file", "sync_data"):
        monkeypatch.setattr(
            framed_log, name, lambda descriptor, name=name: synced.append((name, os.fstat(descriptor).st_size))
        )
    monkeypatch.setattr(framed_log, "fsync_directory", lambda folder: synced.append(("folder", folder)))
    log = FramedLog(path)
    assert synced == [("sync_file", 15), ("folder", tmp_path)]
    log.append(b"two", flush=False)
    log.sync()
    log.append(b"three", flush=False)
    log.close()
    assert synced[2:] == [("sync_data", 30), ("sync_data", 47)]


@pytest.mark.parametrize(("shorter", "reads"), [(0, 2), (1, 3)])
def test_a_frame_that_ends_with_a_block_is_read_from_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shorter: int, reads: int
) -> None:
    """A frame that ends where a block does is whole; one that ends a byte later is read again with its own length."""
    path, asked, pread = tmp_path / "a.log", [], os.pread
    _, second = write(path, [b"exact", b"next"])
    monkeypatch.setattr(framed_log, "_READ_BYTES", second - shorter)
    monkeypatch.setattr(framed_log.os, "pread", lambda *place: asked.append(place[2]) or pread(*place))
    assert list(iter_frames(path)) == [b"exact", b"next"]
    assert len(asked) == reads
