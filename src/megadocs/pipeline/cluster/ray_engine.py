"""An engine whose servers are spread over a Ray cluster: one engine per worker, the protocol unchanged.

    engine = RayEngine(config.engine, address)
    run_generation(config, task, documents, ledger, report, should_stop, engine=engine)

`num_servers` of the recipe is the number of workers. Each is an actor with one engine of the recipe's kind; retries,
gates, ceilings and the ledger stay in the process that calls `complete`. Requests of a worker that dies come back as
`connection` failures, which the retry layer sends anew with the same seed, to another worker; a new one is started in
the meantime, wherever the cluster has room. Records are made by the caller alone, so none can be made twice.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import replace

from ray.exceptions import RayError

from megadocs.errors import EngineError
from megadocs.generate.engines import EngineInfo, build_engine
from megadocs.generate.engines.protocol import Completion, EngineFailure, Reply
from megadocs.pipeline.cluster.ray_cluster import connect, first_line, read_capacity
from megadocs.pipeline.cluster.worker_pool import WorkerPool, engine_demand
from megadocs.recipe import EngineConfig

_PLACE_SECONDS = 600.0  # an autoscaler needs minutes for a node
_HEALTH_SECONDS = 10.0
_REPLY_GRACE_SECONDS = 30.0
_STARTING_NOTE_SECONDS = 10.0


class RayEngine:
    """`num_servers` engines on the workers of a cluster, behind the protocol of one engine.

    Args:
        address: of the cluster, as for `connect`.
        note: called with a line when the number of serving workers changes.
    """

    def __init__(
        self, config: EngineConfig, address: str | None = None, note: Callable[[str], None] = lambda text: None
    ) -> None:
        self._config = config
        self._address = address
        self._note = note
        self._info = build_engine(config).info()
        self._pool = WorkerPool(config, self._info, note)
        self._keepers: list[asyncio.Task[None]] = []
        self._is_connected = False

    async def start(self) -> None:
        """Join the cluster and wait for the first worker; the others take part as they come up."""
        self._cluster = connect(self._address)
        self._is_connected = True
        self._pool.demand = engine_demand(self._config, read_capacity())
        self._keepers = [asyncio.create_task(self._pool.keep(slot)) for slot in self._pool.slots]
        waited = 0.0
        while not self._pool.usable():
            for keeper in self._keepers:
                if keeper.done():
                    keeper.result()
            errors = [slot.error for slot in self._pool.slots if slot.error is not None]
            if len(errors) == len(self._pool.slots):
                raise errors[0]
            if waited > _PLACE_SECONDS and not any(slot.node for slot in self._pool.slots):
                raise EngineError(
                    f"no node has had {self._pool.demand} for an engine worker within {_PLACE_SECONDS:.0f} s",
                    where="generate.engine",
                    remedy="add nodes, or wait for those that use them (`ray status` lists both)",
                )
            if not await self._pool.change_within(_STARTING_NOTE_SECONDS):
                waited += _STARTING_NOTE_SECONDS
                self._note(f"waits for the first of {len(self._pool.slots)} engine workers ({self._pool.demand} each)")

    async def complete(self, completion: Completion) -> Reply | EngineFailure:
        """One request, to the worker of its lane while that serves and has room, else to the least busy one."""
        slot = await self._pool.acquire(completion.lane)
        if slot is None:
            return EngineFailure("connection", "no engine worker is up")
        actor = slot.actor
        try:
            answer = actor.complete.remote(replace(completion, lane=completion.lane // len(self._pool.slots)))
            result: Reply | EngineFailure = await asyncio.wait_for(
                answer, completion.timeout_seconds + _REPLY_GRACE_SECONDS
            )
        except TimeoutError:
            result = EngineFailure("timeout", f"engine worker {slot.number} on node {slot.node} did not answer")
        except RayError as error:
            if slot.actor is actor and slot.state != "starting":
                self._pool.set_state(slot, "starting")
            slot.trouble.set()
            message = f"engine worker {slot.number} on node {slot.node} died: {first_line(error)}"
            return EngineFailure("connection", message)
        finally:
            slot.in_flight -= 1
            self._pool.wake(1)
        if isinstance(result, EngineFailure) and result.kind in ("connection", "timeout"):
            slot.trouble.set()
        return result

    async def is_healthy(self) -> bool:
        """Have every worker looked at; True when one serves within ten seconds."""
        for slot in self._pool.usable():
            self._pool.set_state(slot, "doubtful")
            slot.trouble.set()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_HEALTH_SECONDS):
                while not self._pool.serving():
                    await self._pool.change_within(_HEALTH_SECONDS)
        return bool(self._pool.serving())

    def info(self) -> EngineInfo:
        """What the recipe says of the engine; concurrency over all workers."""
        return self._info

    async def close(self) -> None:
        """End the workers and leave the cluster."""
        if not self._is_connected:
            return
        self._is_connected = False
        for keeper in self._keepers:
            keeper.cancel()
        await asyncio.gather(*self._keepers, return_exceptions=True)
        await asyncio.gather(*(self._pool.end(slot) for slot in self._pool.slots))
        self._cluster.close()
