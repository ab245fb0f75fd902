"""How fast the configured engine writes: a few seconds of each task into a ledger that is thrown away.

    rates = probe_tasks(recipe, {"rephrase": 1, "thought": 1}, documents, folder, num_slots=2)

Stopping lets the requests in flight finish, with ever fewer of them at once, so that the wall time of a short probe
would make the engine look slow. What counts is how long each request was served, over the number of lanes.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from megadocs.corpus import SplitCorpus
from megadocs.generate import run_generation
from megadocs.generate.engines import Engine, EngineInfo, build_engine
from megadocs.generate.engines.protocol import Completion, EngineFailure, Reply
from megadocs.pipeline.price.rates import TaskRates, reading_speed
from megadocs.recipe import Recipe

_SECONDS = 7.0
#: Replies that a mean length rests on.
_MIN_REPLIES = 8


def probe_tasks(
    recipe: Recipe, tasks: Mapping[str, int], documents: SplitCorpus, folder: Path, num_slots: int
) -> dict[str, TaskRates]:
    """Each task's rates, of those that gave a reply.

    Args:
        recipe: whose engine it is.
        tasks: with the slots of their steps; all at once where they will run side by side.
        documents: of which some are used.
        folder: for the ledgers.
        num_slots: of the executor.
    """
    if not tasks:
        return {}
    is_together = sum(tasks.values()) <= num_slots and recipe.generate.engine.kind != "vllm"
    seconds = _SECONDS if is_together else _SECONDS / len(tasks)
    with ThreadPoolExecutor(max_workers=len(tasks) if is_together else 1) as pool:
        found = list(pool.map(lambda task: _probe_task(recipe, task, documents, folder, seconds), tasks))
    return {task: rates for task, rates in zip(tasks, found, strict=True) if rates is not None}


def _probe_task(recipe: Recipe, task: str, documents: SplitCorpus, folder: Path, seconds: float) -> TaskRates | None:
    engine = _TimedEngine(build_engine(recipe.generate.engine))
    books = run_generation(
        recipe.generate,
        task,
        documents.train_multiple(1),
        folder / f"ledger-{task}",
        lambda _: None,
        lambda: engine.started is not None and time.monotonic() - engine.started > seconds,
        engine=engine,
    )
    if not books.spent_new_tokens or engine.started is None:
        return None
    served = time.monotonic() - engine.started
    if not books.is_complete:
        served = min(served, engine.served_seconds / engine.info().concurrency)
    replies = books.ok + books.rejected
    num_read = (books.prompt_tokens - books.cached_tokens) / reading_speed(recipe.generate.engine)
    return TaskRates(
        tokens_per_second=(books.spent_new_tokens + num_read) / max(1e-6, served),
        start_seconds=engine.start_seconds,
        mean_reply_tokens=books.spent_new_tokens / replies if replies >= _MIN_REPLIES else None,
    )


class _TimedEngine:
    """An engine that notes how long it took to start and to serve.

    Attributes:
        started: when it was ready; None before.
        start_seconds: until then.
        served_seconds: of all requests, one after the other.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.started: float | None = None
        self.start_seconds = self.served_seconds = 0.0

    async def start(self) -> None:
        """Start it."""
        begun = time.monotonic()
        await self._engine.start()
        self.started = time.monotonic()
        self.start_seconds = self.started - begun

    async def complete(self, completion: Completion) -> Reply | EngineFailure:
        """Serve one request."""
        begun = time.monotonic()
        try:
            return await self._engine.complete(completion)
        finally:
            self.served_seconds += time.monotonic() - begun

    async def is_healthy(self) -> bool:
        """Ask it."""
        return await self._engine.is_healthy()

    def info(self) -> EngineInfo:
        """Its own."""
        return self._engine.info()

    async def close(self) -> None:
        """Close it."""
        await self._engine.close()
