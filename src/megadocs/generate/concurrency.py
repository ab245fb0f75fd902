"""How many requests may be in flight now: fewer when the engine says that it is too much, slowly more again.

Additive increase, multiplicative decrease, as TCP does: a 429 or 5xx takes a third off (at most once a second, so that
one burst counts once), a window of replies without trouble adds one, up to the recipe's concurrency.
"""

from __future__ import annotations

import asyncio
import collections
import time

_DECREASE = 2 / 3
_MIN_SECONDS_BETWEEN = 1.0


class AdaptiveLimit:
    """A semaphore whose size follows the engine: `async with limit:` holds one place for the length of the block.

    Args:
        maximum: the recipe's concurrency over all servers.
    """

    def __init__(self, maximum: int) -> None:
        self.maximum = maximum
        self.limit = float(maximum)
        self.in_flight = 0
        self._last_decrease = 0.0
        self._waiting: collections.deque[asyncio.Future[None]] = collections.deque()

    async def __aenter__(self) -> None:
        while self._num_free() < 1:
            place = asyncio.get_running_loop().create_future()
            self._waiting.append(place)
            try:
                await place
            except asyncio.CancelledError:
                self._wake()  # it may have been our turn
                raise
        self.in_flight += 1

    async def __aexit__(self, *_: object) -> None:
        self.in_flight -= 1
        self._wake()

    def _num_free(self) -> int:
        return max(1, int(self.limit)) - self.in_flight

    def _wake(self) -> None:
        for _ in range(self._num_free()):
            while self._waiting:
                place = self._waiting.popleft()
                if not place.done():
                    place.set_result(None)
                    break

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

    def report_death(self) -> None:
        """The server died under what was in flight: one at a time until it answers, so that a culprit shows."""
        self.limit = 1.0
