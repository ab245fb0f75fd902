"""Runs a command that ends when its parent does, with everything that it started.

    python -m megadocs.generate.engines.supervise COMMAND ARGUMENT ...

A server such as vLLM has child processes of its own (`VLLM::EngineCore`) and does not watch its parent. The supervisor
leaves its parent's session, so that a signal to the parent's whole group (`timeout`, a closed terminal, `kill -9`)
leaves it to clean up, and takes in the orphans below it. When standard input closes, which the kernel does for whatever
reason the parent dies, or a signal asks for it, it kills the command's group and all that descends from it, in groups
and sessions of their own, too. It exits with the command's exit code. It imports nothing of ours: it is started by its
path.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
#: Killed processes are gone within milliseconds, unless a device holds them.
_GONE_SECONDS = 5.0


def main() -> None:
    """Start the command, wait for its end, for standard input to close, or for a signal."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent drains first
    with contextlib.suppress(PermissionError):  # started by hand it leads its group already
        os.setsid()
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    child = subprocess.Popen(sys.argv[1:], stdin=subprocess.DEVNULL, preexec_fn=_in_own_group)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda number, _frame: _end(child.pid, 128 + number))
    threading.Thread(target=_end_with_input, args=(child.pid,), daemon=True).start()
    code = child.wait()
    _end(child.pid, code if code >= 0 else 128 - code)  # at once: the other thread still waits for input


def _in_own_group() -> None:
    os.setpgid(0, 0)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def _end_with_input(group: int) -> None:
    while os.read(0, 4096):
        pass
    _end(group, 1)


def _end(group: int, code: int) -> None:
    """Kill the group and all descendants, until none is left (orphans of the killed become our children), and exit."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, signal.SIGKILL)
    deadline = time.monotonic() + _GONE_SECONDS
    while (found := _descendants(os.getpid())) and time.monotonic() < deadline:
        for process in found:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(process, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:  # the dead count as children until somebody asks for them
                pass
        time.sleep(0.01)
    os._exit(code)


def _descendants(process: int) -> list[int]:
    """Process ids below one; none where the system does not list them (macOS: the group has to do)."""
    found: list[int] = []
    for path in Path(f"/proc/{process}/task").glob("*/children"):  # a list for each thread that started some
        with contextlib.suppress(OSError):
            for child in map(int, path.read_text().split()):
                found += [child, *_descendants(child)]
    return found


if __name__ == "__main__":
    main()
