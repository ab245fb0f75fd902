"""A program in a child process: started, watched, started again when it dies, ended with us.

`ChildProcess` owns the process, the restarts and its last words; `ChildServer` adds the client of a language model
server. Subclasses say how it is launched and when it serves. Requests that a dying child held come back as `connection`
failures that name the death; the retry layer sends them anew, and stops the run when deaths follow each other
(`trouble`). What the process prints is kept in a file of the workspace's `logs/`, and its last lines are in every
message about its end.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import sys
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from megadocs.errors import EngineError
from megadocs.generate.engines.failures import one_line
from megadocs.generate.engines.protocol import Completion, EngineFailure, EngineInfo, Reply
from megadocs.recipe import EngineConfig
from megadocs.store.files import store_error

if TYPE_CHECKING:
    from megadocs.generate.engines.openai import OpenAIEngine

_KILL_SECONDS = 10.0
_LOG_TAIL_BYTES = 8000
_LOG_TAIL_LINES = 3
_MAX_FAILED_STARTS = 3
#: After a connection is lost, how long the end of the process may take to show.
_DEATH_SECONDS = 1.0


class ChildProcess(ABC):
    """One process of ours.

    Args:
        number: of this process among the engine's.
        log_dir: where its output is kept; None: only as long as it runs.
    """

    def __init__(self, config: EngineConfig, number: int = 0, log_dir: Path | None = None) -> None:
        self.config = config
        self.number = number
        self.log_path = None if log_dir is None else log_dir / f"{config.kind}-{socket.gethostname()}-{number}.log"
        self.process: asyncio.subprocess.Process | None = None
        self._num_failed_starts = 0
        self._lock = asyncio.Lock()
        self._errors: IO[bytes] | None = None
        self._log_start = 0  # where this start's words begin in the log: an earlier one's are not its own

    @abstractmethod
    async def start(self) -> None:
        """Launch it and wait until it serves, or leave nothing behind (EngineError)."""

    @abstractmethod
    async def answers(self) -> bool:
        """Whether a running process answers now."""

    @abstractmethod
    async def close(self) -> None:
        """Let the connections go and end the process."""

    @property
    def is_running(self) -> bool:
        """Whether there is a process that has not ended."""
        return self.process is not None and self.process.returncode is None

    async def revive(self) -> bool:
        """Whether it serves; starts it again when its process is gone or does not answer.

        Raises:
            EngineError: it has failed to start three times in a row.
        """
        async with self._lock:
            if self.is_running and await self.answers():
                return True
            await self.close()
            try:
                await self.start()
            except EngineError:
                self._num_failed_starts += 1
                if self._num_failed_starts >= _MAX_FAILED_STARTS:
                    raise
                return False
            self._num_failed_starts = 0
            return True

    async def with_death(self, failure: EngineFailure, process: asyncio.subprocess.Process) -> EngineFailure:
        """The failure with the death of the process behind it, where it is dead (or dies within a moment)."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_DEATH_SECONDS):
                await process.wait()
        if process.returncode is None or process is not self.process:
            return failure
        what = f"the server ended with code {process.returncode}{self._last_words()}"
        return EngineFailure("connection", what, death=(self.number, process.pid))

    async def end(self) -> None:
        """End the process: its input is closed, then it is killed."""
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

    async def spawn(
        self,
        arguments: Sequence[str],
        environment: Mapping[str, str] | None = None,
        *,
        keeps_output: bool = False,
        descriptors: Sequence[int] = (),
    ) -> None:
        """Start a Python module of ours (`-m NAME ...`) with this interpreter; its messages are kept for errors.

        Args:
            arguments: after the interpreter.
            environment: of the process; None: ours, with our module path.
            keeps_output: whether standard output goes to the log, too; else it is a pipe for the subclass to read.
            descriptors: open files that it inherits under their numbers.
        """
        self._errors = self._open_log()
        self._log_start = os.fstat(self._errors.fileno()).st_size
        search_path = os.pathsep.join(path for path in sys.path if path)
        self.process = await asyncio.create_subprocess_exec(
            sys.executable,
            *arguments,
            stdin=asyncio.subprocess.PIPE,
            stdout=self._errors if keeps_output else asyncio.subprocess.PIPE,
            stderr=self._errors,
            env={**os.environ, "PYTHONPATH": search_path} if environment is None else dict(environment),
            pass_fds=descriptors,
        )

    def _open_log(self) -> IO[bytes]:
        """The server's log, appended to; without a folder for it a file that has no name, so that nothing is left."""
        if self.log_path is None:
            return tempfile.TemporaryFile()
        try:
            self.log_path.parent.mkdir(parents=True, exist_ok=True)
            return self.log_path.open("a+b")
        except OSError as error:
            raise store_error("cannot write the server's log", self.log_path, error) from error

    def failure(self, what: str, *, remedy: str) -> EngineError:
        """An error with the last lines that the process printed."""
        where = f"generate.engine.model={self.config.model}"
        return EngineError(f"{what}{self._last_words()}", where=where, remedy=remedy)

    def _last_words(self) -> str:
        """`; its last lines: ...; all of them: FILE`, or nothing where it has said nothing since this start."""
        if self._errors is None:
            return ""
        # `pread`: the process shares the position of this very file, and a seek here would move its next line.
        end = os.fstat(self._errors.fileno()).st_size
        tail = os.pread(self._errors.fileno(), _LOG_TAIL_BYTES, max(self._log_start, end - _LOG_TAIL_BYTES))
        lines = [line for line in tail.decode("utf-8", "replace").splitlines() if line.strip()]
        if not lines:
            return ""
        words = "; its last lines: " + " | ".join(one_line(line) for line in lines[-_LOG_TAIL_LINES:])
        return words + (f"; all of them: {self.log_path}" if self.log_path is not None else "")


class ChildServer(ChildProcess):
    """One server process and the client that talks to it.

    Args:
        config, number, log_dir: as for every child process.
        body_extra: fields added to every request body.
    """

    def __init__(
        self,
        config: EngineConfig,
        number: int = 0,
        log_dir: Path | None = None,
        body_extra: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(config, number, log_dir)
        self.address: str | None = None
        self._body_extra = body_extra
        self._client: OpenAIEngine | None = None

    @abstractmethod
    async def launch(self) -> str:
        """Start the process and return its address (without `/v1`) once it serves; `EngineError` otherwise."""

    async def start(self) -> None:
        """Launch, or leave nothing behind."""
        from megadocs.generate.engines.openai import OpenAIEngine  # aiohttp: a quarter of a second, not for a plan

        try:
            self.address = await self.launch()
        except BaseException:
            await self.close()
            raise
        self._client = OpenAIEngine(self.config, base_url=f"{self.address}/v1", body_extra=self._body_extra)

    async def complete(self, completion: Completion) -> Reply | EngineFailure:
        """One request."""
        client, process = self._client, self.process
        if client is None or process is None:
            return EngineFailure("connection", "the server is being started again")
        result = await client.complete(completion)
        if isinstance(result, EngineFailure) and result.kind in ("connection", "server_error"):
            return await self.with_death(result, process)
        return result

    async def answers(self) -> bool:
        """Whether its address answers."""
        return self._client is not None and await self._client.is_healthy()

    async def close(self) -> None:
        """Close the client and end the process."""
        client, self._client, self.address = self._client, None, None
        if client is not None:
            await client.close()
        await self.end()


class ServerEngine:
    """An engine of servers side by side: a lane keeps to one of them, where its documents' prompts are cached.

    Args:
        servers: one for each of `num_servers`, not started.
    """

    def __init__(self, config: EngineConfig, servers: Sequence[ChildServer]) -> None:
        self._config, self._servers = config, servers

    async def start(self) -> None:
        """Start all servers: seconds for a small model, minutes for a large one."""
        await asyncio.gather(*(server.start() for server in self._servers))

    async def complete(self, completion: Completion) -> Reply | EngineFailure:
        """One request, to the server of its lane."""
        return await self._servers[completion.lane % len(self._servers)].complete(completion)

    async def is_healthy(self) -> bool:
        """Restart the servers that died; True when all serve."""
        return all(await asyncio.gather(*(server.revive() for server in self._servers)))

    def info(self) -> EngineInfo:
        """What is known without asking."""
        from megadocs.generate.engines import engine_info

        return engine_info(self._config)

    async def close(self) -> None:
        """End the servers and everything they started."""
        await asyncio.gather(*(server.close() for server in self._servers))

    @property
    def process_ids(self) -> list[int]:
        """Of the servers that run, or of what holds them (for tests and `doctor`)."""
        return [server.process.pid for server in self._servers if server.process is not None]
