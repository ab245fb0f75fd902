"""Locks that a dead process never holds: `flock` on a file that names the holder.

    with hold_lock(path, purpose="ledger rephrase"):
        ...                       # the only writer on this machine

The kernel drops the lock when its holder dies, however it dies. The file's content (pid, host, purpose) is for the
message only.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path

from megadocs.errors import LockedError
from megadocs.store.files import make_directory, store_error

_POLL_SECONDS = 0.1


@contextlib.contextmanager
def hold_lock(path: str | Path, *, purpose: str, wait_seconds: float = 0.0) -> Iterator[None]:
    """Hold an exclusive lock for the length of the block.

    Args:
        path: lock file, created when missing and never deleted (deleting would let two holders in).
        purpose: what the lock is for, in the error message of a process that finds it taken.
        wait_seconds: how long to wait for another holder.

    Raises:
        LockedError: another process holds it; the message names its pid and host.
    """
    path = Path(path)
    try:
        make_directory(path.parent)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise store_error("cannot open the lock", path, error) from error
    try:
        deadline = time.monotonic() + wait_seconds
        while not _try_lock(descriptor):
            if time.monotonic() >= deadline:
                raise _locked(path, purpose)
            time.sleep(_POLL_SECONDS)
        holder = json.dumps({"pid": os.getpid(), "host": socket.gethostname(), "purpose": purpose}).encode()
        with contextlib.suppress(OSError):  # for the message only: a full disk does not stop the holder here
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, holder, 0)
        yield
    finally:
        os.close(descriptor)


def is_locked(path: str | Path) -> bool:
    """Whether some process holds the lock now; False where the file may not be read.

    Asked with a shared lock on a descriptor that only reads, so that it works on read-only media and in the workspace
    of another user.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return False
    try:
        return not _try_lock(descriptor, fcntl.LOCK_SH)
    finally:
        os.close(descriptor)


def _try_lock(descriptor: int, mode: int = fcntl.LOCK_EX) -> bool:
    try:
        fcntl.flock(descriptor, mode | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _locked(path: Path, purpose: str) -> LockedError:
    holder = "another process"
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        record = json.loads(path.read_bytes())
        holder = f"process {record['pid']} on {record['host']}"
    return LockedError(
        f"{purpose} is in use by {holder}",
        where=str(path),
        remedy="wait for it to end, or stop it; nothing was changed",
    )
