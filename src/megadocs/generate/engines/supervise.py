"""Runs a command that ends when its parent does.

    python -m megadocs.generate.engines.supervise COMMAND ARGUMENT ...

A server such as vLLM has child processes of its own and does not watch its parent. The supervisor starts it in a
process group of its own and kills the whole group when standard input closes, which the kernel does for whatever reason
the parent dies. It exits with the command's exit code. It imports nothing of ours: it is started by its path.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import threading

_PR_SET_PDEATHSIG = 1


def main() -> None:
    """Start the command, wait for its end or for standard input to close."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent drains first
    child = subprocess.Popen(sys.argv[1:], stdin=subprocess.DEVNULL, preexec_fn=_in_own_group)
    threading.Thread(target=_kill_on_end_of_input, args=(child.pid,), daemon=True).start()
    code = child.wait()
    _kill_group(child.pid)  # what it left behind
    os._exit(code if code >= 0 else 128 - code)  # at once: the other thread still waits for input


def _in_own_group() -> None:
    os.setpgid(0, 0)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def _kill_on_end_of_input(group: int) -> None:
    while os.read(0, 4096):
        pass
    _kill_group(group)
    os._exit(1)


def _kill_group(group: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, signal.SIGKILL)


if __name__ == "__main__":
    main()
