"""Finding processes by the name that Ray or we gave them, to kill them."""

from __future__ import annotations

import contextlib
import os
import signal
from pathlib import Path


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
