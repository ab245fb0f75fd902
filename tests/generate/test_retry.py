"""Back-off, breaker, adaptive concurrency: by hand and against engines that go down and come back."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from megadocs.documents import Document
from megadocs.generate import GenerationProgress, retry, run_generation, runner
from megadocs.generate.concurrency import AdaptiveLimit
from megadocs.generate.engines.fake import FakeEngine
from megadocs.generate.engines.protocol import Completion, EngineFailure, Reply
from megadocs.generate.retry import CircuitBreaker, backoff_seconds
from megadocs.recipe import GenerateConfig

Documents = Callable[..., list[Document]]
Config = Callable[..., GenerateConfig]


def test_backoff_doubles_to_a_cap_with_jitter() -> None:
    low = [backoff_seconds(number, jitter=lambda: 0.0) for number in range(10)]
    high = [backoff_seconds(number, jitter=lambda: 1.0) for number in range(10)]
    assert low[:4] == [0.125, 0.25, 0.5, 1.0]
    assert high == [2 * wait for wait in low]
    assert high[-1] == 30.0
    assert backoff_seconds(10_000, jitter=lambda: 1.0) == 30.0


def test_retry_after_is_waited_in_full() -> None:
    assert backoff_seconds(0, 7.0, jitter=lambda: 0.0) == 7.0
    assert backoff_seconds(0, 0.0, jitter=lambda: 0.5) == 0.125
    assert backoff_seconds(0, 1e9, jitter=lambda: 0.0) == 600.0


def test_the_breaker_opens_after_trouble_in_a_row_and_closes_when_probed() -> None:
    async def main() -> None:
        answers = iter([False, False, True])
        probes = 0

        async def probe() -> bool:
            nonlocal probes
            probes += 1
            return next(answers)

        breaker = CircuitBreaker(probe, lambda: False)
        down = EngineFailure("connection", "refused")
        for _ in range(3):
            breaker.report_failure(down)
        breaker.report_reply()  # the count starts again
        for _ in range(3):
            breaker.report_failure(down)
        assert not breaker.is_open
        breaker.report_failure(EngineFailure("malformed", "answered, badly"))
        for _ in range(4):
            assert not breaker.is_open
            breaker.report_failure(down)
        assert breaker.is_open
        await asyncio.wait_for(breaker.wait(), 5)
        assert probes == 3
        breaker.report_failure(down)  # half open: one failure is enough
        assert breaker.is_open
        await breaker.close()

    asyncio.run(main())


def test_the_limit_shrinks_under_overload_and_grows_again() -> None:
    async def main() -> None:
        limit = AdaptiveLimit(12)
        limit.report_overload()
        limit.report_overload()  # the same burst
        assert limit.limit == 8
        running = peak = 0

        async def work() -> None:
            nonlocal running, peak
            async with limit:
                running += 1
                peak = max(peak, running)
                await asyncio.sleep(0.01)
                running -= 1

        await asyncio.gather(*(work() for _ in range(30)))
        assert peak == 8
        for _ in range(60):
            limit.report_reply()
        assert limit.limit == 12
        assert limit.in_flight == 0

    asyncio.run(main())


class MoodyEngine(FakeEngine):
    """A fake engine that is down for a while, or whose model hangs silently until it is looked at."""

    def __init__(self, config: Any, *, down_after: int, down_seconds: float = 0.0, hangs: bool = False) -> None:
        super().__init__(config)
        self.num_calls = 0
        self.num_probes = 0
        self._down_after, self._down_seconds, self._hangs = down_after, down_seconds, hangs
        self._down_since: float | None = None
        self._mended = asyncio.Event()

    def _is_down(self) -> bool:
        return self._down_since is not None and time.monotonic() - self._down_since < self._down_seconds

    async def complete(self, completion: Completion) -> Reply | EngineFailure:
        self.num_calls += 1
        if self.num_calls > self._down_after:
            if self._hangs:
                await self._mended.wait()
            elif self._down_since is None:
                self._down_since = time.monotonic()
        return EngineFailure("connection", "refused") if self._is_down() else await super().complete(completion)

    async def is_healthy(self) -> bool:
        self.num_probes += 1
        self._mended.set()
        return not self._is_down() and await super().is_healthy()


def test_an_engine_that_is_down_for_long_fails_no_record(
    tmp_path: Path, config: Config, documents: Documents, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retry, "BASE_SECONDS", 0.02)
    monkeypatch.setattr(retry, "MAX_SECONDS", 0.2)
    quick = config(options={"transport": "http"})
    engine = MoodyEngine(quick.engine, down_after=10, down_seconds=4.0)
    states: list[str] = []

    def progress(state: GenerationProgress) -> None:
        states.append(state.state)

    books = run_generation(quick, "rephrase", documents(20), tmp_path, progress, lambda: False, engine=engine)
    assert (books.ok, books.failed) == (40, 0)
    assert "waiting for the engine" in states
    assert engine.num_probes > 5
    assert books.num_sent < 80  # it was not hammered meanwhile


def test_stopping_while_the_engine_is_down(tmp_path: Path, config: Config, documents: Documents) -> None:
    quick = config(options={"transport": "http"})
    engine = MoodyEngine(quick.engine, down_after=5, down_seconds=1e9)
    began = time.monotonic()
    stop = lambda: time.monotonic() - began > 2  # noqa: E731
    books = run_generation(quick, "rephrase", documents(20), tmp_path, lambda _: None, stop, engine=engine)
    assert books.stopped == "interrupted"
    assert books.failed == 0
    assert books.ok == 5
    assert time.monotonic() - began < 20


def test_a_silent_engine_is_looked_at(
    tmp_path: Path, config: Config, documents: Documents, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner, "WATCHDOG_SECONDS", 0.5)
    quick = config(options={"transport": "http"})
    engine = MoodyEngine(quick.engine, down_after=6, hangs=True)
    books = run_generation(quick, "rephrase", documents(10), tmp_path, lambda _: None, lambda: False, engine=engine)
    assert books.ok == 20
    assert engine.num_probes >= 1


def test_a_poisonous_request_fails_alone(
    tmp_path: Path, config: Config, documents: Documents, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One document makes the server drop the connection every time; the others get through, so it fails."""
    monkeypatch.setattr(retry, "BASE_SECONDS", 0.01)
    monkeypatch.setattr(retry, "MAX_SECONDS", 0.1)

    class Poisoned(FakeEngine):
        async def complete(self, completion: Completion) -> Reply | EngineFailure:
            if "poison" in completion.messages[-1]["content"]:
                await asyncio.sleep(0.05)
                return EngineFailure("connection", "reset")
            return await super().complete(completion)

    quick = config(options={"transport": "http"})
    corpus = [*documents(30), Document("bad", "poison " * 20)]
    books = run_generation(
        quick, "rephrase", corpus[::-1], tmp_path, lambda _: None, lambda: False, engine=Poisoned(quick.engine)
    )
    assert (books.ok, books.failed) == (60, 2)
    assert books.errors == {"connection": 2}
