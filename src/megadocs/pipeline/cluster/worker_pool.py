"""The engine workers of a cluster: where each stands, started, looked at and replaced; and who may send to which.

pool = WorkerPool(config, info, note)
keepers = [asyncio.create_task(pool.keep(slot)) for slot in pool.slots]
slot = await pool.acquire(lane)        # room for one request, or None when no worker is up
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import ray
from ray.exceptions import RayError

from megadocs.errors import EngineError, MegadocsError
from megadocs.generate.engines import Engine, EngineInfo, build_engine
from megadocs.generate.engines.protocol import Completion, EngineFailure, Reply
from megadocs.generate.retry import backoff_seconds
from megadocs.kinds import engine_spec
from megadocs.pipeline.cluster.ray_cluster import Capacity, first_line, node_address
from megadocs.recipe import EngineConfig

_RESTART_SECONDS = 1800.0  # a vLLM server that starts again
_CLOSE_SECONDS = 20.0


@dataclass(frozen=True, slots=True)
class EngineDemand:
    """What one engine worker takes from its node."""

    num_cpus: int
    num_gpus: int

    def __str__(self) -> str:
        return f"{self.num_cpus} CPUs and {self.num_gpus} GPUs"


def engine_demand(config: EngineConfig, capacity: Capacity) -> EngineDemand:
    """Threads for engines on CPUs (none: all of a node), GPUs for servers that need them, one CPU for a client.

    A server takes `tensor_parallel_size` times `pipeline_parallel_size` GPUs of its options, one by default, and none
    on a cluster that declares no GPUs.
    """
    works_by = engine_spec(config.kind).works_by
    if works_by in ("address", "rule"):  # the model runs elsewhere, or there is none
        return EngineDemand(1, 0)
    num_cpus = min(config.num_threads or capacity.node_cpus, capacity.node_cpus)
    if works_by == "model_file" or not capacity.num_gpus:
        return EngineDemand(num_cpus, 0)
    options = config.options
    sizes = [options.get(name, 1) for name in ("tensor_parallel_size", "pipeline_parallel_size")]
    num_gpus = math.prod(size if isinstance(size, int) else int(str(size)) for size in sizes)
    return EngineDemand(num_cpus, num_gpus)


class EngineWorker:
    """One engine on a node (an asynchronous Ray actor).

    Args:
        config: an engine section as JSON; its `num_servers` is 1.
    """

    def __init__(self, config: Mapping[str, Any]) -> None:
        self._config = EngineConfig.model_validate(config)
        self._engine: Engine | None = None

    async def node(self) -> str:
        """The node's address: an answer means that the worker has its place."""
        return node_address()

    async def start(self) -> dict[str, Any]:
        """Start the engine: the identity of its model, or the error as JSON."""
        try:
            self._engine = build_engine(self._config)
            await self._engine.start()
            return {"identity": dict(self._engine.info().identity)}
        except MegadocsError as error:
            return {"error": error.to_json()}

    async def complete(self, completion: Completion) -> Reply | EngineFailure:
        """One request."""
        assert self._engine is not None, "start() comes first"
        return await self._engine.complete(completion)

    async def is_healthy(self) -> bool:
        """Whether the engine serves, restarted if need be."""
        return self._engine is not None and await self._engine.is_healthy()

    async def close(self) -> None:
        """End the engine and its processes."""
        if self._engine is not None:
            await self._engine.close()


@dataclass(eq=False, slots=True)
class Slot:
    """One worker's place: the actor that fills it now and what is known of it."""

    number: int
    #: `starting`: takes nothing; `serving`; `doubtful`: being looked at, still takes requests.
    state: Literal["starting", "serving", "doubtful"] = "starting"
    actor: Any = None
    node: str = ""
    in_flight: int = 0
    error: EngineError | None = None
    trouble: asyncio.Event = field(default_factory=asyncio.Event)  # set to have it looked at


class WorkerPool:
    """`num_servers` places for engine workers.

    Args:
        info: what every worker's engine has to be.
        note: called with a line when the number of serving workers changes.

    Attributes:
        slots: the places.
        demand: what a worker takes from its node; set before the first `keep`.
    """

    def __init__(self, config: EngineConfig, info: EngineInfo, note: Callable[[str], None]) -> None:
        self._config = config
        self._info = info
        self._note = note
        self._waiting: collections.deque[asyncio.Future[None]] = collections.deque()
        self._changed = asyncio.Event()
        self._worker_class = ray.remote(EngineWorker)
        self.slots = [Slot(number) for number in range(config.num_servers)]
        self.demand = EngineDemand(1, 0)

    async def keep(self, slot: Slot) -> None:
        """Fill a slot with a worker, look at it when there is trouble, and fill it again when it is gone."""
        number = 0
        while True:
            if await self._bring_up(slot):
                number = 0
                await self._watch(slot)
            await self.end(slot)
            await asyncio.sleep(backoff_seconds(number))
            number += 1

    async def _bring_up(self, slot: Slot) -> bool:
        """A new worker in the slot, serving; False when it cannot be had, and `slot.error` says why."""
        config = self._config.model_copy(update={"num_servers": 1}).model_dump(mode="json")
        options = self._worker_class.options(
            num_cpus=self.demand.num_cpus,
            num_gpus=self.demand.num_gpus,
            max_concurrency=self._config.concurrency + 4,
            scheduling_strategy="SPREAD",
        )
        slot.node = ""
        slot.trouble.clear()
        slot.actor = options.remote(config)
        try:
            slot.node = await slot.actor.node.remote()
            answer = await slot.actor.start.remote()
        except RayError as error:
            slot.error = EngineError(f"an engine worker died while starting: {first_line(error)}", where=slot.node)
        else:
            slot.error = self._start_error(slot, answer)
        self.set_state(slot, "serving" if slot.error is None else "starting")
        return slot.error is None

    def _start_error(self, slot: Slot, answer: Mapping[str, Any]) -> EngineError | None:
        """Why the worker that answered so cannot take part."""
        if "error" in answer:
            error = answer["error"]
            return EngineError(f"node {slot.node}: {error['what']}", where=error["where"], remedy=error["remedy"])
        if answer["identity"] != dict(self._info.identity):
            return EngineError(
                f"node {slot.node} has another model under the same name",
                where=f"generate.engine.model={self._config.model}",
                remedy="put the same file on every node",
            )
        return None

    async def _watch(self, slot: Slot) -> None:
        """Return when the slot's worker is gone or cannot be restarted."""
        while True:
            await slot.trouble.wait()
            slot.trouble.clear()
            if slot.state == "starting":
                return
            self.set_state(slot, "doubtful")
            try:
                async with asyncio.timeout(_RESTART_SECONDS):
                    is_healthy = await slot.actor.is_healthy.remote()
            except (RayError, TimeoutError):
                is_healthy = False
            self.set_state(slot, "serving" if is_healthy else "starting")
            if not is_healthy:
                return

    async def end(self, slot: Slot) -> None:
        """Close the slot's worker, if it still listens, and end it."""
        actor, slot.actor, slot.state = slot.actor, None, "starting"
        if actor is None:
            return
        if slot.node:
            with contextlib.suppress(RayError, TimeoutError):
                async with asyncio.timeout(_CLOSE_SECONDS):
                    await actor.close.remote()
        ray.kill(actor)

    async def acquire(self, lane: int) -> Slot | None:
        """A place for one request, waiting for room; None when no worker is up."""
        while usable := self.usable():
            home = self.slots[lane % len(self.slots)]
            slot = home if home in usable else min(usable, key=lambda slot: slot.in_flight)
            if slot.in_flight >= self._config.concurrency:
                slot = min(usable, key=lambda slot: slot.in_flight)
            if slot.in_flight < self._config.concurrency:
                slot.in_flight += 1
                return slot
            waiter = asyncio.get_running_loop().create_future()
            self._waiting.append(waiter)
            await waiter
        return None

    def wake(self, number: int) -> None:
        """Let so many waiting requests look for a place again."""
        while number > 0 and self._waiting:
            waiter = self._waiting.popleft()
            if not waiter.done():  # cancelled
                waiter.set_result(None)
                number -= 1

    def usable(self) -> list[Slot]:
        """Slots whose worker takes requests."""
        return [slot for slot in self.slots if slot.state != "starting"]

    def serving(self) -> list[Slot]:
        """Slots whose worker is known to serve."""
        return [slot for slot in self.slots if slot.state == "serving"]

    def set_state(self, slot: Slot, state: Literal["starting", "serving", "doubtful"]) -> None:
        """Change what is known of a slot, tell it, and wake who waits."""
        was_usable, slot.state = slot.state != "starting", state
        if was_usable != (state != "starting"):
            self._note(f"{len(self.usable())} of {len(self.slots)} engine workers up")
            self.wake(len(self._waiting))
        self._changed.set()

    async def change_within(self, seconds: float) -> bool:
        """Whether some slot's state changed within this time."""
        self._changed.clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._changed.wait()
        return self._changed.is_set()
