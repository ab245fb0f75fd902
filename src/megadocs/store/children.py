"""What a child process owes its parent: to end with it, however the parent ends."""

from __future__ import annotations

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def die_with_parent(number: signal.Signals = signal.SIGKILL, *, parent: int | None = None) -> None:
    """Have the kernel send a signal to this process when its parent ends (Linux; elsewhere nothing happens).

    Args:
        number: SIGTERM where there is something to save first.
        parent: its process id, read before; this process leaves at once if the parent has died since.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, number, 0, 0, 0)
        if parent is not None and os.getppid() != parent:
            os._exit(1)
