"""Tokens per second and time left, from the last half minute."""

from __future__ import annotations

import collections
import time

_WINDOW_SECONDS = 30.0


class SpeedMeter:
    """A sliding window over (time, new tokens so far, records so far)."""

    def __init__(self) -> None:
        self._points: collections.deque[tuple[float, int, int]] = collections.deque()

    def add(self, new_tokens: int, records: int) -> None:
        """Note the totals at this moment."""
        now = time.monotonic()
        self._points.append((now, new_tokens, records))
        while len(self._points) > 2 and now - self._points[0][0] > _WINDOW_SECONDS:
            self._points.popleft()

    @property
    def tokens_per_second(self) -> float:
        """New tokens per second over the window; 0 before anything is known."""
        return self._rate(1)

    def seconds_for(self, records: int) -> float | None:
        """Time for that many more records at the window's pace; None before anything is known."""
        rate = self._rate(2)
        return records / rate if rate > 0 else None

    def _rate(self, column: int) -> float:
        if len(self._points) < 2:
            return 0.0
        first, last = self._points[0], self._points[-1]
        seconds = last[0] - first[0]
        return (last[column] - first[column]) / seconds if seconds > 0 else 0.0
