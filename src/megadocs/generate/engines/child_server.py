"""A language model server in a child process: started, watched, started again when it dies, ended with us.

Subclasses say how it is launched and when it serves; this class owns the process, the client and the mending. Requests
that a dying server held come back as `connection` failures, which the retry layer sends anew.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import IO, Any

from megadocs.errors import EngineError
from megadocs.generate.engines.failures import one_line
from megadocs.generate.engines.openai import OpenAIEngine
from megadocs.generate.engines.protocol import Completion, EngineFailure, Reply
from megadocs.recipe import EngineConfig

_KILL_SECONDS = 10.0
_LOG_TAIL_BYTES = 2000


class ChildServer(ABC):
    """One server process and the client that talks to it.

    Args:
        config: the recipe's engine section.
        body_extra: fields added to every request body.
    """

    def __init__(self, config: EngineConfig, body_extra: Mapping[str, Any] | None = None) -> None:
        self.config = config
        self.process: asyncio.subprocess.Process | None = None
        self.address: str | None = None
        self.num_restarts = 0
        self._body_extra = body_extra
        self._client: OpenAIEngine | None = None
        self._lock = asyncio.Lock()
        self._errors: IO[bytes] | None = None

    @abstractmethod
    async def launch(self) -> str:
        """Start the process and return its address (without `/v1`) once it serves; `EngineError` otherwise."""

    async def start(self) -> None:
        """Launch, or leave nothing behind."""
        try:
            self.address = await self.launch()
        except BaseException:
            await self.close()
            raise
        self._client = OpenAIEngine(self.config, base_url=f"{self.address}/v1", body_extra=self._body_extra)

    async def complete(self, completion: Completion) -> Reply | EngineFailure:
        """One request."""
        client = self._client
        if client is None:
            return EngineFailure("connection", "the server is being started again")
        return await client.complete(completion)

    async def revive(self) -> bool:
        """Whether it serves; starts it again when its process is gone or does not answer."""
        async with self._lock:
            alive = self.process is not None and self.process.returncode is None
            if alive and self._client is not None and await self._client.is_healthy():
                return True
            await self.close()
            self.num_restarts += 1
            with contextlib.suppress(EngineError):
                await self.start()
                return True
            return False

    async def close(self) -> None:
        """Close the client and end the process: its input is closed, then it is killed."""
        client, self._client, self.address = self._client, None, None
        if client is not None:
            await client.close()
        process, self.process = self.process, None
        if process is not None and process.returncode is None:
            if process.stdin is not None:
                process.stdin.close()
            try:
                async with asyncio.timeout(_KILL_SECONDS):
                    await process.wait()
            except TimeoutError:
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
                await process.wait()
        if self._errors is not None:
            self._errors.close()
            self._errors = None

    async def spawn(self, arguments: Sequence[str], environment: Mapping[str, str] | None = None) -> None:
        """Start a Python module of ours (`-m NAME ...`) with this interpreter; its messages are kept for errors."""
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115  (closed by `close`; has no name, so nothing is left)
        search_path = os.pathsep.join(path for path in sys.path if path)
        self.process = await asyncio.create_subprocess_exec(
            sys.executable,
            *arguments,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=self._errors,
            env={**os.environ, "PYTHONPATH": search_path} if environment is None else dict(environment),
        )

    def failure(self, what: str, *, remedy: str) -> EngineError:
        """An error with the last line that the process wrote to its standard error."""
        last = ""
        if self._errors is not None:
            self._errors.seek(0, os.SEEK_END)
            self._errors.seek(max(0, self._errors.tell() - _LOG_TAIL_BYTES))
            lines = self._errors.read().decode("utf-8", "replace").strip().splitlines()
            last = f": {one_line(lines[-1])}" if lines else ""
        return EngineError(f"{what}{last}", where=f"generate.engine.model={self.config.model}", remedy=remedy)
