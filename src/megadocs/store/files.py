"""Writing files so that a crash leaves the old content or the new, never half of either.

    write_json_atomic(path, {"a": 1})      # temporary file beside it, fsync, rename, fsync of the directory
    append_json_line(path, {"step": 3})    # one write call per line; a torn last line is dropped by `iter_json_lines`

Every `OSError` becomes a `StoreError` that names the path and the free space.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import itertools
import json
import os
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from megadocs.errors import DamagedError, StoreError
from megadocs.machine import sync_file

_CHUNK_BYTES = 1 << 20


def write_bytes_atomic(path: str | Path, data: bytes) -> None:
    """Replace `path` by `data` in one step that survives a crash or power loss.

    Raises:
        StoreError: disk full, no permission, input/output error; the old file is untouched.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(6)}.tmp")
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0), 0o600)
        try:
            write_all(descriptor, data)
            sync_file(descriptor)
        finally:
            os.close(descriptor)
        temporary.chmod(0o644)
        temporary.replace(path)
        fsync_directory(path.parent)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise store_error("cannot write", path, error) from error


def make_directory(path: str | Path) -> None:
    """Make a directory and those above it, so that they survive a power loss; one that is there stays as it is.

    A new directory is an entry in the one above it, and that entry is on the disk only once the one above is synced:
    files that are synced within it would be lost with it. ext4, XFS and btrfs commit the ancestors of a synced file in
    practice; POSIX promises nothing, and network file systems less. So everything that must last is made with this.

    Raises:
        StoreError: a file of that name is there, or no permission.
    """
    path = Path(path)
    missing = list(itertools.takewhile(lambda folder: not folder.exists(), (path, *path.parents)))
    try:
        path.mkdir(parents=True, exist_ok=True)
        for made in reversed(missing):
            fsync_directory(made.parent)
    except OSError as error:
        raise store_error("cannot make the directory", path, error) from error


def write_json_atomic(path: str | Path, value: Any) -> None:
    """`write_bytes_atomic` of readable JSON with sorted keys and a final line end. NaN is refused (ValueError)."""
    text = json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False)
    # A file name that is no UTF-8 holds lone surrogates: as \udc80 they are what JSON writes for them.
    write_bytes_atomic(path, (text + "\n").encode("utf-8", "backslashreplace"))


def read_json(path: str | Path) -> Any:
    """Parse a JSON file; `DamagedError` when it is not JSON (NaN and Infinity are not), `StoreError` if unreadable."""
    try:
        return json.loads(Path(path).read_bytes(), parse_constant=_refuse_constant)
    except OSError as error:
        raise store_error("cannot read", Path(path), error) from error
    except ValueError as error:
        raise DamagedError("not valid JSON", where=str(path), remedy="delete it and run again") from error


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def append_json_line(path: str | Path, record: dict[str, Any]) -> None:
    """Append one line of JSON with a single write; no fsync (metrics, not money). NaN becomes null by the caller."""
    line = json.dumps(record, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n"
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        try:
            write_all(descriptor, line.encode("utf-8", "backslashreplace"))
        finally:
            os.close(descriptor)
    except OSError as error:
        raise store_error("cannot append", Path(path), error) from error


def iter_json_lines(path: str | Path) -> Iterator[dict[str, Any]]:
    """The records of a JSON-lines file; a last line without its line end (torn by a crash) is left out."""
    with Path(path).open("rb") as file:
        for number, line in enumerate(file, start=1):
            if not line.endswith(b"\n"):
                return
            try:
                yield json.loads(line, parse_constant=_refuse_constant)
            except ValueError as error:
                raise DamagedError(f"line {number} is not valid JSON", where=str(path)) from error


def file_sha256(path: str | Path) -> str:
    """Hex SHA-256 of a file's content, read in pieces of 1 MiB."""
    digest = hashlib.sha256()
    try:
        with Path(path).open("rb", buffering=0) as file:
            while chunk := file.read(_CHUNK_BYTES):
                digest.update(chunk)
    except OSError as error:
        raise store_error("cannot read", Path(path), error) from error
    return digest.hexdigest()


def fsync_file(path: str | Path) -> None:
    """Push a file's content to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        sync_file(descriptor)
    finally:
        os.close(descriptor)


def fsync_directory(path: str | Path) -> None:
    """Push a directory's entries (creations, renames) to the disk."""
    fsync_file(path)


def write_all(descriptor: int, data: bytes) -> None:
    """`os.write` until everything is written: short writes are legal and happen on full or slow disks."""
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def store_error(what: str, path: Path, error: OSError) -> StoreError:
    """An `OSError` as a `StoreError` with the path and the space left on its disk."""
    remedy = None
    if isinstance(error, FileNotFoundError):
        remedy = "check the path"
    elif isinstance(error, FileExistsError | NotADirectoryError):
        remedy = "a file is in the way: name another place, or move it"
    elif isinstance(error, IsADirectoryError):
        remedy = "a directory is in the way: name another place, or move it"
    elif error.errno in (errno.EACCES, errno.EPERM):
        remedy = "ask its owner for permission to read (and, for a run, to write) there, or name another place"
    elif error.errno == errno.EROFS:
        remedy = "the disk is mounted read-only: copy the workspace to one that can be written"
    elif error.errno == errno.ENOSPC and _has_no_inodes(path):
        remedy = (
            "no more files fit on that disk, whatever their size (its inodes are used up): delete some, or move them"
        )
    else:
        with contextlib.suppress(OSError):
            free = shutil.disk_usage(_existing(path)).free
            remedy = (
                f"{free / 1e6:,.0f} MB are free there; free some space or choose another --workspace, then run again"
            )
    return StoreError(f"{what}: {error.strerror or error}", where=str(path), remedy=remedy)


def _has_no_inodes(path: Path) -> bool:
    """Whether a disk with room for bytes has none for files; file systems without a fixed number say 0 of 0."""
    with contextlib.suppress(OSError):
        state = os.statvfs(_existing(path))
        return state.f_files > 0 and state.f_favail == 0
    return False


def _existing(path: Path) -> Path:
    while not path.exists() and path != path.parent:
        path = path.parent
    return path
