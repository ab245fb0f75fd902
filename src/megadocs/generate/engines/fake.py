"""The fake engine: deterministic replies and scripted faults, over real HTTP on loopback or in this process.

`options.transport: http` (default) starts a `FakeServer` inside the event loop and talks to it like to any server;
`memory` calls the reply function directly, for benchmarks of everything but HTTP.
"""

from __future__ import annotations

import asyncio
import collections
from pathlib import Path
from typing import Any

from megadocs.generate.engines import engine_info
from megadocs.generate.engines.fake_replies import FakeScript, build_reply, choose_fault, request_digest
from megadocs.generate.engines.fake_server import FakeServer
from megadocs.generate.engines.openai import OpenAIEngine
from megadocs.generate.engines.protocol import Completion, Engine, EngineFailure, EngineInfo, Reply
from megadocs.generate.engines.replies import read_reply
from megadocs.recipe import EngineConfig


def make_fake(config: EngineConfig, log_dir: Path | None = None) -> Engine:
    """The fake engine over the transport of its options."""
    return InProcessFakeEngine(config) if config.options.get("transport") == "memory" else FakeEngine(config)


class FakeEngine:
    """A fake server of our own and the client to it."""

    def __init__(self, config: EngineConfig) -> None:
        self._config = config
        self.server = FakeServer(FakeScript.parse(config.options), model=config.model)
        self._client: OpenAIEngine | None = None

    async def start(self) -> None:
        """Start the server."""
        self._client = OpenAIEngine(self._config, base_url=f"{await self.server.start()}/v1")
        await self._client.start()

    async def complete(self, completion: Completion) -> Reply | EngineFailure:
        """One request over HTTP."""
        assert self._client is not None, "start() comes first"
        return await self._client.complete(completion)

    async def is_healthy(self) -> bool:
        """Whether the server answers."""
        return self._client is not None and await self._client.is_healthy()

    def info(self) -> EngineInfo:
        """The configured name."""
        return engine_info(self._config)

    async def close(self) -> None:
        """Stop client and server."""
        if self._client is not None:
            await self._client.close()
            self._client = None
        await self.server.close()


class InProcessFakeEngine:
    """The same replies without HTTP."""

    def __init__(self, config: EngineConfig) -> None:
        self._config = config
        self._script = FakeScript.parse(config.options)
        self._num_seen: collections.Counter[bytes] = collections.Counter()

    async def start(self) -> None:
        """Nothing to start."""

    async def complete(self, completion: Completion) -> Reply | EngineFailure:
        """The reply, after the scripted latency; transport faults are `connection` failures."""
        body: dict[str, Any] = {"messages": list(completion.messages), "seed": completion.seed}
        digest = request_digest(body)
        await asyncio.sleep(self._script.latency_seconds)
        fault = None
        if self._script.faults or self._script.broken:
            fault = choose_fault(self._script, digest, self._num_seen[digest])
            self._num_seen[digest] += 1
        if fault == "broken":
            return EngineFailure("bad_request", "scripted fault")
        if fault is not None:
            return EngineFailure("connection", f"scripted fault {fault}")
        return read_reply(build_reply(self._script, body, digest, self._config.model))

    async def is_healthy(self) -> bool:
        """Always."""
        return True

    def info(self) -> EngineInfo:
        """The configured name."""
        return engine_info(self._config)

    async def close(self) -> None:
        """Nothing to close."""
