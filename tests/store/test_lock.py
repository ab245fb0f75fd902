"""Locks: one holder, who is named; freed however it ends; asked about without being taken."""

import errno
import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from megadocs.errors import LockedError, StoreError
from megadocs.store import lock
from megadocs.store.lock import hold_lock, is_locked

HOLDER = """
import sys
from megadocs.store.lock import hold_lock

with hold_lock(sys.argv[1], purpose="p"):
    print(flush=True)
    input()
"""


@pytest.fixture
def holder(tmp_path: Path):
    """Another process that holds `tmp_path / lock` until its input ends."""
    command = [sys.executable, "-c", HOLDER, str(tmp_path / "lock")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        process.stdout.readline()
        yield process
        process.kill()


def test_the_file_names_its_holder_and_folders_are_made(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b.lock"
    with hold_lock(path, purpose="ledger rephrase"):
        told = json.loads(path.read_bytes())
        assert is_locked(path)
    assert told == {"pid": os.getpid(), "host": socket.gethostname(), "purpose": "ledger rephrase"}
    assert path.exists()  # a deleted file would let two holders in
    assert path.stat().st_mode & 0o777 == 0o644 & ~_umask()
    assert not is_locked(path)


def _umask() -> int:
    now = os.umask(0)
    os.umask(now)
    return now


def test_a_shorter_name_leaves_nothing_of_a_longer_one(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    for purpose in ("a long purpose that fills the file", "short"):
        with hold_lock(path, purpose=purpose):
            assert json.loads(path.read_bytes())["purpose"] == purpose


def test_a_second_process_is_told_who_holds_it(tmp_path: Path, holder: subprocess.Popen) -> None:
    with pytest.raises(LockedError) as caught, hold_lock(tmp_path / "lock", purpose="train f00"):
        pass
    assert caught.value.what == f"train f00 is in use by process {holder.pid} on {socket.gethostname()}"
    assert caught.value.where == str(tmp_path / "lock")
    assert caught.value.remedy == "wait for it to end, or stop it; nothing was changed"
    assert is_locked(tmp_path / "lock")


def test_an_unreadable_name_is_another_process(tmp_path: Path, holder: subprocess.Popen) -> None:
    (tmp_path / "lock").write_text("rubbish")
    with pytest.raises(LockedError, match=r"^train is in use by another process\n"):
        with hold_lock(tmp_path / "lock", purpose="train"):
            pass


def test_waiting_ends_with_the_holder_or_with_patience(tmp_path: Path, holder: subprocess.Popen) -> None:
    begun = time.monotonic()
    with pytest.raises(LockedError), hold_lock(tmp_path / "lock", purpose="p", wait_seconds=0.3):
        pass
    assert 0.3 <= time.monotonic() - begun < 5
    holder.kill()
    with hold_lock(tmp_path / "lock", purpose="p", wait_seconds=20.0):
        assert is_locked(tmp_path / "lock")


def test_a_block_that_fails_frees_it(tmp_path: Path) -> None:
    with pytest.raises(KeyError), hold_lock(tmp_path / "lock", purpose="p"):
        raise KeyError
    with hold_lock(tmp_path / "lock", purpose="p"):
        assert is_locked(tmp_path / "lock")


def test_a_full_disk_does_not_stop_the_holder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(lock.os, "pwrite", full)
    with hold_lock(tmp_path / "lock", purpose="p"):
        assert is_locked(tmp_path / "lock")


def test_no_file_no_lock_and_no_way_to_open_one(tmp_path: Path) -> None:
    assert not is_locked(tmp_path / "nothing")
    (tmp_path / "file").write_text("")
    assert not is_locked(tmp_path / "file" / "below")
    with pytest.raises(StoreError, match=r"^cannot make the directory") as caught:
        with hold_lock(tmp_path / "file" / "below", purpose="p"):
            pass
    assert str(tmp_path / "file") in str(caught.value.where)
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StoreError, match="cannot open the lock"), hold_lock(tmp_path / "link", purpose="p"):
        pass
    assert not (tmp_path / "elsewhere").exists()


@pytest.mark.parametrize("content", [b"rubbish", b"", b"{}", b'{"pid": 3}', b'{"host": "h"}', b"[]", b"3"])
def test_a_file_that_names_nobody(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "lock"
    with hold_lock(path, purpose="p"):
        path.write_bytes(content)
        with pytest.raises(LockedError) as caught, hold_lock(path, purpose="train"):
            pass
    assert caught.value.what == "train is in use by another process"
    assert (caught.value.where, caught.value.remedy) == (
        str(path),
        "wait for it to end, or stop it; nothing was changed",
    )


def test_a_file_that_cannot_be_read_names_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: Path) -> bytes:
        raise PermissionError(errno.EACCES, "Permission denied")

    with hold_lock(tmp_path / "lock", purpose="p"):
        monkeypatch.setattr(Path, "read_bytes", refuse)
        with (
            pytest.raises(LockedError, match=r"^p is in use by another process\n"),
            hold_lock(tmp_path / "lock", purpose="p"),
        ):
            pass


def test_a_lock_that_may_not_be_read_is_not_known_to_be_held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> int:
        raise PermissionError(errno.EACCES, "Permission denied")

    with hold_lock(tmp_path / "lock", purpose="p"):
        assert is_locked(str(tmp_path / "lock"))
        monkeypatch.setattr(lock.os, "open", refuse)
        assert is_locked(tmp_path / "lock") is False


def test_asking_takes_nothing_and_leaves_nothing_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two may ask at once; neither keeps a third from holding it."""
    (tmp_path / "lock").write_bytes(b"")
    modes, real = [], lock.fcntl.flock

    def note(descriptor: int, mode: int) -> None:
        modes.append((mode, os.get_inheritable(descriptor)))
        real(descriptor, mode)

    monkeypatch.setattr(lock.fcntl, "flock", note)
    before = len(list(Path("/proc/self/fd").iterdir()))
    assert is_locked(tmp_path / "lock") is False
    assert len(list(Path("/proc/self/fd").iterdir())) == before
    with hold_lock(tmp_path / "lock", purpose="p"):
        pass
    assert modes == [
        (lock.fcntl.LOCK_SH | lock.fcntl.LOCK_NB, False),
        (lock.fcntl.LOCK_EX | lock.fcntl.LOCK_NB, False),
    ]
