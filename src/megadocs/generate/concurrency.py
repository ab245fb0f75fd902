"""How many requests may be in flight now: fewer when the engine says that it is too much, slowly more again.

Additive increase, multiplicative decrease, as TCP does: a 429 or 5xx takes a third off (at most once a second, so that
one burst counts once), a window of replies without trouble adds one, up to the recipe's concurrency.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

_DECREASE = 2 / 3
_MIN_SECONDS_BETWEEN = 1.0


class AdaptiveLimit:
    """A semaphore whose size follows the engine.

    Args:
        maximum: the recipe's concurrency over all servers.
    """

    def __init__(self, maximum: int) -> None:
        self.maximum = maximum
        self.limit = float(maximum)
        self.in_flight = 0
        self._last_decrease = 0.0
        self._changed = asyncio.Condition()

    @asynccontextmanager
    async def slot(self) -> AsyncIterator[None]:
        """Hold one place for the length of the block."""
        async with self._changed:
            await self._changed.wait_for(lambda: self.in_flight < max(1, int(self.limit)))
            self.in_flight += 1
        try:
            yield
        finally:
            self.in_flight -= 1
            async with self._changed:
                self._changed.notify_all()

    def report_reply(self) -> None:
        """One more reply: the limit grows by one per window of replies."""
        if self.limit < self.maximum:
            self.limit = min(self.maximum, self.limit + 1 / self.limit)

    def report_overload(self) -> None:
        """The engine has too much to do."""
        now = time.monotonic()
        if now - self._last_decrease >= _MIN_SECONDS_BETWEEN:
            self._last_decrease = now
            self.limit = max(1.0, self.limit * _DECREASE)
