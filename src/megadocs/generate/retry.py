"""The one retry layer: when to send again, how long to wait, when to stop asking a server that is down.

Three kinds of trouble are kept apart. A *doubtful reply* is sampled again with the next attempt's seed. A *failure of
the request* (timeout, malformed reply) is sent again with the same seed, a bounded number of times. A *failure of the
engine* (refused, reset, 429, 5xx) costs a request nothing unless others got through meanwhile: after `_TROUBLE_LIMIT`
of them in a row, with no reply in between, the breaker opens, everything waits, and one probe at a time asks whether
the engine is back. Waiting is capped exponential back-off with jitter; Retry-After is honoured.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable

from megadocs.errors import MegadocsError
from megadocs.generate.engines.protocol import ENGINE_DOWN, EngineFailure

BASE_SECONDS = 0.25
MAX_SECONDS = 30.0
MAX_RETRY_AFTER_SECONDS = 600.0
#: Sends of one attempt (same seed) before a failure of the request, or of the engine between good replies, is final.
MAX_SENDS = 6
#: Sends after which a request fails although no other got through: the last one left may be the one that breaks it.
#: Sends happen only while the probe finds the engine healthy; with the back-off this takes some eight minutes.
MAX_SENDS_ALONE = 20
_TROUBLE_LIMIT = 4


def backoff_seconds(
    number: int, retry_after: float | None = None, *, jitter: Callable[[], float] = random.random
) -> float:
    """How long to wait before send number `number` + 1 (0 is the first): 0.25 s doubling to 30 s, half of it jitter.

    Args:
        number: sends so far minus one.
        retry_after: what the server asked for; waited in full, up to ten minutes.
        jitter: a number in [0, 1).
    """
    wait = min(MAX_SECONDS, BASE_SECONDS * 2.0 ** min(number, 20))
    wait = wait / 2 + wait / 2 * jitter()
    if retry_after is not None:
        return min(MAX_RETRY_AFTER_SECONDS, retry_after) + BASE_SECONDS * jitter()
    return wait


class CircuitBreaker:
    """Shared by all lanes: closed while the engine answers, open while it is down.

    Args:
        probe: asks the engine whether it would serve now (and repairs what it can).
        stopping: whether the run wants to end; a waiting lane then gives up.

    Attributes:
        seconds_open: all the time that nothing was sent.
        seconds_down: that part of it in which the probe found nobody.
        error: why the engine cannot be brought back.
    """

    def __init__(self, probe: Callable[[], Awaitable[bool]], stopping: Callable[[], bool]) -> None:
        self._probe = probe
        self._stopping = stopping
        self._trouble = 0
        self._closed = asyncio.Event()
        self._closed.set()
        self._prober: asyncio.Task[None] | None = None
        self.seconds_open = 0.0
        self.seconds_down = 0.0
        self.error: MegadocsError | None = None

    @property
    def is_open(self) -> bool:
        """Whether nothing may be sent now."""
        return not self._closed.is_set()

    def report_reply(self) -> None:
        """The engine answered, well or badly: it is up."""
        self._trouble = 0

    def report_failure(self, failure: EngineFailure) -> None:
        """Count a failure; opens the breaker when the engine seems down."""
        if failure.kind not in ENGINE_DOWN and failure.kind != "timeout":
            self._trouble = 0
            return
        self._trouble += 1
        if self._trouble >= _TROUBLE_LIMIT and self._closed.is_set():
            self._closed.clear()
            self._prober = asyncio.create_task(self._wait_for_engine())

    async def wait(self) -> None:
        """Return when requests may be sent (or the run is stopping).

        Raises:
            MegadocsError: the engine cannot be brought back.
        """
        await self._closed.wait()
        if self.error is not None:
            raise self.error

    async def close(self) -> None:
        """End the probe."""
        if self._prober is not None:
            self._prober.cancel()
            await asyncio.gather(self._prober, return_exceptions=True)

    async def _wait_for_engine(self) -> None:
        began = time.monotonic()
        down_since: float | None = None
        number = 0
        while not self._stopping():
            await interruptible_sleep(backoff_seconds(number), self._stopping)
            try:
                if await self._probe():
                    break
            except MegadocsError as error:
                self.error = error
                break
            down_since = down_since or began
            number += 1
        now = time.monotonic()
        self.seconds_open += now - began
        self.seconds_down += now - down_since if down_since is not None else 0.0
        self._trouble = _TROUBLE_LIMIT - 1  # half open: one more failure opens it again
        self._closed.set()


async def interruptible_sleep(seconds: float, stopping: Callable[[], bool]) -> None:
    """Sleep, but look every 0.1 s whether the run is stopping."""
    end = time.monotonic() + seconds
    while not stopping() and (left := end - time.monotonic()) > 0:
        await asyncio.sleep(min(0.1, left))
