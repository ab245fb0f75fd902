"""Atomic files: the old content or the new, errors that name the path."""

import errno
import hashlib
import json
import math
import os
import shutil
import stat
from collections import namedtuple
from pathlib import Path

import pytest

from megadocs.errors import DamagedError, MegadocsError, StoreError
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


def parts(error: pytest.ExceptionInfo[MegadocsError]) -> tuple[str, str | None, str | None]:
    return error.value.what, error.value.where, error.value.remedy


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_json_byte_for_byte(tmp_path: Path) -> None:
    """Readable, sorted, UTF-8; a name that is none keeps its bytes as JSON writes them."""
    value = {"b": [1, 2.5], "a": "späť", "c": os.fsdecode(b"x\xff")}
    files.write_json_atomic(tmp_path / "x.json", value)
    expected = '{\n "a": "späť",\n "b": [\n  1,\n  2.5\n ],\n "c": "x\\udcff"\n}\n'
    assert (tmp_path / "x.json").read_bytes() == expected.encode()
    assert files.read_json(tmp_path / "x.json") == files.read_json(str(tmp_path / "x.json")) == value
    for record in (value, {"z": 0, "y": None}):
        files.append_json_line(tmp_path / "x.jsonl", record)
    lines = '{"a": "späť", "b": [1, 2.5], "c": "x\\udcff"}\n{"y": null, "z": 0}\n'
    assert (tmp_path / "x.jsonl").read_bytes() == lines.encode()
    assert list(files.iter_json_lines(tmp_path / "x.jsonl")) == [value, {"z": 0, "y": None}]
    for number in (math.nan, math.inf):
        with pytest.raises(ValueError, match="JSON"):
            files.append_json_line(tmp_path / "x.jsonl", {"loss": number})
    assert (tmp_path / "x.jsonl").read_bytes() == lines.encode()


def test_who_may_read_what_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While it is written only its writer, under a name of its own; then everybody, whatever the umask."""
    seen, real = [], files.write_all

    def look(descriptor: int, data: bytes) -> None:
        seen.extend((path.name, mode_of(path)) for path in tmp_path.iterdir())
        real(descriptor, data)

    monkeypatch.setattr(files, "write_all", look)
    monkeypatch.setattr(files.secrets, "token_hex", lambda size: "ab" * size)
    for umask in (0o077, 0):
        seen.clear()
        before = os.umask(umask)
        try:
            files.write_bytes_atomic(str(tmp_path / "value"), b"1")
        finally:
            os.umask(before)
        assert seen == [(".value.abababababab.tmp", 0o600)]
        assert mode_of(tmp_path / "value") == 0o644
        (tmp_path / "value").unlink()
    monkeypatch.undo()
    before = os.umask(0)
    try:
        files.append_json_line(tmp_path / "lines", {})
    finally:
        os.umask(before)
    assert mode_of(tmp_path / "lines") == 0o644


def test_a_link_under_the_temporary_name_is_not_followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "precious").write_bytes(b"old")
    monkeypatch.setattr(files.secrets, "token_hex", lambda size: "cd" * size)
    (tmp_path / ".value.cdcdcdcdcdcd.tmp").symlink_to(tmp_path / "precious")
    with pytest.raises(StoreError) as caught:
        files.write_bytes_atomic(tmp_path / "value", b"new")
    remedy = "a file is in the way: name another place, or move it"
    assert parts(caught) == ("cannot write: File exists", str(tmp_path / "value"), remedy)
    assert (tmp_path / "precious").read_bytes() == b"old"


def test_a_failure_to_clean_up_does_not_hide_the_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(Path, "replace", refuse)
    monkeypatch.setattr(Path, "unlink", refuse)
    with pytest.raises(StoreError) as caught:
        files.write_bytes_atomic(tmp_path / "value", b"new")
    assert parts(caught) == (
        "cannot write: Read-only file system",
        str(tmp_path / "value"),
        "the disk is mounted read-only: copy the workspace to one that can be written",
    )


def test_directories_are_synced_from_the_top(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced = []
    monkeypatch.setattr(files, "fsync_directory", lambda path: synced.append(path))
    files.make_directory(str(tmp_path / "a" / "b" / "c"))
    assert synced == [tmp_path, tmp_path / "a", tmp_path / "a" / "b"]
    assert (tmp_path / "a" / "b" / "c").is_dir()
    files.make_directory(tmp_path / "a" / "b")
    assert len(synced) == 3
    files.make_directory(tmp_path / "a" / "d")
    assert synced[3:] == [tmp_path / "a"]


def test_files_and_directories_are_synced_through_a_descriptor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "value").write_bytes(b"1")
    synced = []
    monkeypatch.setattr(files, "sync_file", lambda descriptor: synced.append(os.fstat(descriptor).st_ino))
    files.fsync_file(tmp_path / "value")
    files.fsync_directory(str(tmp_path))
    assert synced == [(tmp_path / "value").stat().st_ino, tmp_path.stat().st_ino]


@pytest.mark.parametrize("size", [0, 1, (1 << 20) - 1, 1 << 20, (1 << 20) + 1])
def test_digests_over_the_edges_of_the_pieces(size: int, tmp_path: Path) -> None:
    data = (b"0123456" * (size // 7 + 1))[:size]
    (tmp_path / "data").write_bytes(data)
    assert files.file_sha256(str(tmp_path / "data")) == hashlib.sha256(data).hexdigest()


def test_every_error_names_what_where_and_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("{")
    (tmp_path / "folder").mkdir()
    here, below, folder = tmp_path / "none" / "x", tmp_path / "file" / "x", tmp_path / "folder"
    check, move = "check the path", "a file is in the way: name another place, or move it"
    a_directory = "a directory is in the way: name another place, or move it"
    cases = [
        (lambda: files.write_bytes_atomic(here, b""), "cannot write: No such file or directory", here, check),
        (lambda: files.write_bytes_atomic(folder, b""), "cannot write: Is a directory", folder, a_directory),
        (lambda: files.append_json_line(here, {}), "cannot append: No such file or directory", here, check),
        (lambda: files.append_json_line(folder, {}), "cannot append: Is a directory", folder, a_directory),
        (lambda: files.read_json(here), "cannot read: No such file or directory", here, check),
        (lambda: files.read_json(below), "cannot read: Not a directory", below, move),
        (lambda: files.file_sha256(here), "cannot read: No such file or directory", here, check),
        (lambda: files.make_directory(below), "cannot make the directory: Not a directory", below, move),
        (
            lambda: files.make_directory(tmp_path / "file"),
            "cannot make the directory: File exists",
            tmp_path / "file",
            move,
        ),
    ]
    for act, what, where, remedy in cases:
        with pytest.raises(StoreError) as caught:
            act()
        assert type(caught.value) is StoreError
        assert parts(caught) == (what, str(where), remedy)


def test_damage_names_the_file_and_the_line(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_text('{"a": 1}\n{"b": }\n{"c": 3}\n')
    with pytest.raises(DamagedError) as caught:
        files.read_json(str(path))
    assert parts(caught) == ("not valid JSON", str(path), "delete it and run again")
    lines = files.iter_json_lines(str(path))
    assert next(lines) == {"a": 1}
    with pytest.raises(DamagedError) as caught:
        next(lines)
    assert parts(caught) == ("line 2 is not valid JSON", str(path), None)
    path.write_text("NaN\n")
    with pytest.raises(DamagedError) as caught:
        files.read_json(path)
    assert str(caught.value.__cause__) == "NaN is not JSON"


PERMISSION = "ask its owner for permission to read (and, for a run, to write) there, or name another place"
FREE = "2,500,000 MB are free there; free some space or choose another --workspace, then run again"
INODES = "no more files fit on that disk, whatever their size (its inodes are used up): delete some, or move them"
Usage = namedtuple("Usage", "total used free")


@pytest.mark.parametrize(
    ("number", "files_left", "remedy"),
    [
        (errno.ENOENT, 7, "check the path"),
        (errno.EEXIST, 7, "a file is in the way: name another place, or move it"),
        (errno.ENOTDIR, 7, "a file is in the way: name another place, or move it"),
        (errno.EISDIR, 7, "a directory is in the way: name another place, or move it"),
        (errno.EACCES, 7, PERMISSION),
        (errno.EPERM, 0, PERMISSION),
        (errno.EROFS, 0, "the disk is mounted read-only: copy the workspace to one that can be written"),
        (errno.ENOSPC, 7, FREE),
        (errno.ENOSPC, 1, FREE),
        (errno.ENOSPC, 0, INODES),
        (errno.EIO, 0, FREE),
    ],
)
def test_remedies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, files_left: int, remedy: str) -> None:
    """The disk is asked about at the nearest folder that is there."""
    asked = []
    State = namedtuple("State", "f_files f_favail")
    monkeypatch.setattr(os, "statvfs", lambda path: asked.append(path) or State(1, files_left))
    monkeypatch.setattr(shutil, "disk_usage", lambda path: asked.append(path) or Usage(0, 0, 2_500_000 * 10**6))
    path = tmp_path / "a" / "b"
    error = files.store_error("cannot do", path, OSError(number, "The words"))
    assert (error.what, error.where, error.remedy) == ("cannot do: The words", str(path), remedy)
    assert set(asked) <= {tmp_path}
    assert bool(asked) == (remedy in (FREE, INODES))


def test_an_error_without_words_and_a_disk_that_does_not_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def silent(_: object) -> None:
        raise OSError(errno.ESTALE, "Stale file handle")

    monkeypatch.setattr(os, "statvfs", silent)
    monkeypatch.setattr(shutil, "disk_usage", silent)
    error = files.store_error("cannot read", tmp_path, OSError("gone"))
    assert (error.what, error.where, error.remedy) == ("cannot read: gone", str(tmp_path), None)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(0, 0, 1_500_000))
    full = files.store_error("cannot write", tmp_path, OSError(errno.ENOSPC, "No space left on device"))
    assert full.remedy == "2 MB are free there; free some space or choose another --workspace, then run again"


def test_file_systems_without_a_number_of_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    State = namedtuple("State", "f_files f_favail")
    monkeypatch.setattr(os, "statvfs", lambda _: State(0, 0))
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(0, 0, 2_500_000 * 10**6))
    error = files.store_error("cannot write", tmp_path, OSError(errno.ENOSPC, "No space left on device"))
    assert error.remedy == FREE
