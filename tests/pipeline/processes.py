"""Finding processes by the name that Ray or we gave them, to kill them; waiting for what they do."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

_Found = TypeVar("_Found")


def pids_of(start: str, *, under: int | None = None) -> list[int]:
    """Processes whose command line begins with `start`; `under`: descendants of that process only."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdecimal():
            continue
        with contextlib.suppress(OSError):
            words = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
            if start in words[: len(start) + 200] and (under is None or under in ancestors(int(entry.name))):
                found.append(int(entry.name))
    return sorted(found)


def ancestors(pid: int) -> list[int]:
    """Parents of a process, the nearest first."""
    found = []
    while pid > 1:
        with contextlib.suppress(OSError):
            pid = int((Path("/proc") / str(pid) / "stat").read_text().rpartition(")")[2].split()[1])
            found.append(pid)
            continue
        break
    return found


def kill(pid: int) -> None:
    """SIGKILL, if it is still there."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


class Bound:
    """So many seconds of processor time of this process, its descendants, and those of them that have ended.

    A clock's seconds would say how busy the machine is with other things. What sleeps for ever is ended by the test's
    own timeout.
    """

    def __init__(self, seconds: float) -> None:
        self._left, self._last, self._looked = seconds, _processor_seconds(), time.monotonic()

    def is_over(self) -> bool:
        """Whether the time is used up; looks twice a second."""
        if time.monotonic() - self._looked > 0.5:
            now = _processor_seconds()
            self._left -= max(0.0, now - self._last)  # a process that left the family takes its seconds along
            self._last, self._looked = now, time.monotonic()
        return self._left < 0


def _processor_seconds() -> float:
    own, total = os.getpid(), 0
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal() and (int(entry.name) == own or own in ancestors(int(entry.name))):
            with contextlib.suppress(OSError):
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
                total += sum(map(int, fields[11:15]))
    return total / os.sysconf("SC_CLK_TCK")


def wait_until(condition: Callable[[], _Found], seconds: float) -> _Found:
    """What the condition gives once it is true, within so many seconds of processor time of ours (`Bound`)."""
    bound = Bound(seconds)
    while not (found := condition()):
        assert not bound.is_over(), f"not within {seconds} s of processor time"
        time.sleep(0.02)
    return found


def end_of(process: subprocess.Popen[str], seconds: float) -> tuple[str, str]:
    """What a process said by its end, within so many seconds of processor time."""

    def said() -> tuple[str, str] | None:
        with contextlib.suppress(subprocess.TimeoutExpired):
            return process.communicate(timeout=0.2)
        return None

    try:
        output, messages = wait_until(said, seconds) or ("", "")
    except AssertionError:
        process.kill()
        raise
    return output, messages


def run_within(command: Sequence[str], seconds: float, **options: Any) -> subprocess.CompletedProcess[str]:
    """A command's end and what it said, within so many seconds of processor time."""
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options)
    output, messages = end_of(process, seconds)
    return subprocess.CompletedProcess(command, process.returncode, output, messages)
