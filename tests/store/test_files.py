"""Atomic files: the old content or the new, errors that name the path."""

import errno
import json
import os
from pathlib import Path

import pytest

from megadocs.errors import DamagedError, StoreError
from megadocs.store import files


def test_replace_keeps_old_content_when_writing_fails(tmp_path, monkeypatch):
    path = tmp_path / "value.json"
    files.write_json_atomic(path, {"a": 1})
    monkeypatch.setattr(files.os, "fsync", lambda _: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(StoreError, match="No space left") as caught:
        files.write_json_atomic(path, {"a": 2})
    assert caught.value.where == str(path)
    assert "MB are free" in caught.value.remedy
    assert json.loads(path.read_text()) == {"a": 1}
    assert [entry.name for entry in tmp_path.iterdir()] == ["value.json"]  # no temporary file left


def test_short_writes_are_completed(tmp_path, monkeypatch):
    real_write = files.os.write
    monkeypatch.setattr(files.os, "write", lambda fd, data: real_write(fd, bytes(data[:3])))
    files.write_bytes_atomic(tmp_path / "data", b"0123456789")
    assert (tmp_path / "data").read_bytes() == b"0123456789"


def test_json_lines_survive_a_torn_tail(tmp_path):
    path = tmp_path / "metrics.jsonl"
    for step in range(3):
        files.append_json_line(path, {"step": step})
    path.write_bytes(path.read_bytes() + b'{"step": 3')
    assert [record["step"] for record in files.iter_json_lines(path)] == [0, 1, 2]
    path.write_bytes(b'{"step": 0}\nrubbish\n')
    with pytest.raises(DamagedError, match="line 2"):
        list(files.iter_json_lines(path))


def test_nan_never_becomes_a_number(tmp_path):
    with pytest.raises(ValueError, match="JSON"):
        files.write_json_atomic(tmp_path / "x.json", {"loss": float("nan")})


def test_a_file_in_the_way_of_a_directory_is_named(tmp_path):
    (tmp_path / "out").write_text("mine")
    with pytest.raises(StoreError, match="cannot make the directory") as error:
        files.make_directory(tmp_path / "out" / "tables")
    assert error.value.where == str(tmp_path / "out" / "tables")
    assert "a file is in the way" in str(error.value.remedy)
    files.make_directory(tmp_path / "a" / "b")
    files.make_directory(tmp_path / "a" / "b")
    assert (tmp_path / "a" / "b").is_dir()


def test_a_directory_in_the_way_is_said(tmp_path):
    (tmp_path / "report.html").mkdir()
    with pytest.raises(StoreError, match="Is a directory") as caught:
        files.write_bytes_atomic(tmp_path / "report.html", b"x")
    assert "a directory is in the way" in caught.value.remedy
    assert [entry.name for entry in tmp_path.iterdir()] == ["report.html"]


@pytest.mark.parametrize("number", [errno.EACCES, errno.EPERM])
def test_no_permission_is_no_full_disk(number: int, tmp_path: Path) -> None:
    remedy = files.store_error("cannot read", tmp_path / "x", OSError(number, os.strerror(number))).remedy
    assert remedy is not None
    assert "permission" in remedy
    assert "free" not in remedy
    full = files.store_error("cannot write", tmp_path / "x", OSError(errno.ENOSPC, "No space left")).remedy
    assert full is not None
    assert "MB are free" in full


def test_the_directory_is_synced_after_the_file_is_in_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced = []

    def record(directory: str | Path) -> None:
        synced.append((Path(directory), (tmp_path / "value").read_bytes()))

    monkeypatch.setattr(files, "fsync_directory", record)
    files.write_bytes_atomic(tmp_path / "value", b"new")
    assert synced == [(tmp_path, b"new")]


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity"])
def test_numbers_that_are_not_json_are_refused(number: str, tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_text(f'{{"loss": {number}}}\n')
    with pytest.raises(DamagedError, match="not valid JSON"):
        files.read_json(path)
    with pytest.raises(DamagedError, match="line 1"):
        list(files.iter_json_lines(path))


@pytest.mark.parametrize(
    "num_files, left, words", [(100, 0, "inodes are used up"), (0, 0, "MB are free"), (100, 7, "MB are free")]
)
def test_a_disk_without_room_for_files_is_not_told_to_free_space(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, num_files: int, left: int, words: str
) -> None:
    class State:
        f_files, f_favail = num_files, left
        f_frsize, f_bavail, f_blocks, f_bfree = 4096, 1000, 1000, 1000

    monkeypatch.setattr(os, "statvfs", lambda _: State)
    error = files.store_error("cannot write", tmp_path / "x", OSError(errno.ENOSPC, "No space left on device"))
    assert words in str(error.remedy)
