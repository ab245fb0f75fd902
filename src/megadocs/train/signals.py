"""SIGTERM and SIGINT end a run gracefully: finish the step, save, exit with 143 or 130.

    with StopSignals() as stop:
        ...
        if stop.received: ...

Handlers are installed in the main thread only and put back at the end. A second SIGINT raises KeyboardInterrupt at
once.
"""

from __future__ import annotations

import signal
import threading
from types import FrameType
from typing import Any

from megadocs.errors import TrainingError


class TrainingInterrupted(TrainingError):
    """The run was asked to stop and saved a checkpoint; its exit code is 128 + the signal's number."""

    def __init__(self, number: int, step: int) -> None:
        super().__init__(
            f"stopped by {signal.Signals(number).name} after step {step}; a checkpoint was saved",
            remedy="run the same command again: it continues from there",
        )
        self.exit_code = 128 + number


class StopSignals:
    """Context manager that remembers the first SIGTERM or SIGINT."""

    def __init__(self) -> None:
        self.received: int | None = None
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> StopSignals:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGTERM, signal.SIGINT):
                self._previous[number] = signal.signal(number, self._handle)
        return self

    def __exit__(self, *exc_info: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self.received is not None and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.received = number
