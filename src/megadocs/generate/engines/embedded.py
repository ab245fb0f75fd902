"""The embedded engine: our own model and decoder in child processes, continuous batches, shared prompts.

`num_servers` workers with `num_threads` threads each; every lane of the runner belongs to one worker, and a document's
generations reach one worker together, so that their prompt is read once (`megadocs.model.batching`). The workers are
forks of one process that loaded the model (`megadocs.model.serve`), which is started again as a whole when one of them
ends; requests that were under way come back as `connection` failures and are sent anew by the retry layer.

Models of the Llama family, from a GGUF file or a Hugging Face folder. Beside `complete`, a given text can be scored.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from megadocs.errors import InputError, RecipeError
from megadocs.generate.engines.child_server import ChildProcess
from megadocs.generate.engines.model_files import find_model, model_identity
from megadocs.generate.engines.protocol import Completion, EngineFailure, EngineInfo, FailureKind, Reply
from megadocs.generate.styles import Message
from megadocs.machine import child_processes
from megadocs.recipe import EngineConfig

#: Options of `generate.engine.options` that change what is sampled.
SAMPLING_DEFAULTS: Mapping[str, int | float] = {"top_k": 0, "min_p": 0.0, "frequency_penalty": 0.0}
_FRACTIONS = ("min_p", "frequency_penalty")
#: Options of how it is computed: they are part of no identity.
PRECISIONS = ("auto", "float32", "float16", "bfloat16")
_MACHINE_OPTIONS = ("precision", "cache_megabytes")

_START_TIMEOUT_SECONDS = 600.0
_PING_SECONDS = 30.0
#: A reply's line: text and, when asked for, a number for each token.
_MAX_LINE_BYTES = 8 << 20


class EmbeddedEngine:
    """The workers of one model."""

    def __init__(self, config: EngineConfig, log_dir: Path | None = None) -> None:
        self._config = config
        self._workers = _Workers(config, find_model(config.model), log_dir)

    async def start(self) -> None:
        """Load the model; a few seconds for a small one."""
        await self._workers.start()

    async def complete(self, completion: Completion) -> Reply | EngineFailure:
        """One request, to the worker of its lane."""
        body = {
            "messages": list(completion.messages),
            "max_new_tokens": completion.max_new_tokens,
            "temperature": completion.temperature,
            "top_p": completion.top_p,
            "seed": completion.seed,
            "stop": list(completion.stop),
            **completion.extra,
        }
        answer = await self._workers.ask(completion.lane, body, completion.timeout_seconds)
        if isinstance(answer, EngineFailure):
            return answer
        return Reply(
            text=answer["text"],
            finish_reason=answer["finish_reason"],
            prompt_tokens=answer["prompt_tokens"],
            new_tokens=answer["new_tokens"],
            cached_tokens=answer["cached_tokens"],
            occupancy=answer["occupancy"],
        )

    async def score(
        self, messages: list[Message], continuation: str, *, timeout_seconds: float, lane: int = 0
    ) -> list[float] | EngineFailure:
        """Natural log-probabilities of the tokens of a given reply, one each."""
        body = {"messages": list(messages), "continuation": continuation}
        answer = await self._workers.ask(lane, body, timeout_seconds)
        return answer if isinstance(answer, EngineFailure) else cast(list[float], answer["log_probabilities"])

    async def is_healthy(self) -> bool:
        """Start the workers again when one has ended or does not answer."""
        return await self._workers.revive()

    def info(self) -> EngineInfo:
        """Name and hash of the model's files."""
        return embedded_info(self._config)

    async def close(self) -> None:
        """Stop the child processes."""
        await self._workers.close()

    @property
    def precision(self) -> str | None:
        """In which weights are held, found when it started; the log says by which rates. None: not started yet."""
        return self._workers.precision

    @property
    def process_ids(self) -> list[int]:
        """Of the process that loads and its workers, those that run (for tests)."""
        return self._workers.process_ids


class _Workers(ChildProcess):
    """The child process that loaded the model, and a connection to each of its workers."""

    def __init__(self, config: EngineConfig, model: Path, log_dir: Path | None) -> None:
        super().__init__(config, log_dir=log_dir)
        self._model = model
        self.precision: str | None = None
        self._connections: list[_Connection] = []

    async def start(self) -> None:
        """Start all, or leave nothing behind."""
        pairs = [socket.socketpair() for _ in range(self.config.num_servers)]
        try:
            await self.spawn(self._arguments(pairs), descriptors=[theirs.fileno() for _, theirs in pairs])
            for _, theirs in pairs:
                theirs.close()
            self._connections = [await _Connection.open(ours) for ours, _ in pairs]
            await self._wait_until_ready()
        except BaseException:
            for pair in pairs:
                for end in pair:
                    end.close()
            await self.close()
            raise

    def _arguments(self, pairs: list[tuple[socket.socket, socket.socket]]) -> list[str]:
        config, options = self.config, self.config.options
        arguments = ["-m", "megadocs.model.serve", "--model", str(self._model)]
        arguments += ["--sockets", *(str(theirs.fileno()) for _, theirs in pairs)]
        arguments += ["--sequences", str(config.concurrency), "--context-tokens", str(config.context_tokens)]
        arguments += ["--api", config.api]
        if config.num_threads is not None:
            arguments += ["--threads", str(config.num_threads)]
        for name in _MACHINE_OPTIONS:
            if name in options:
                arguments += [f"--{name.replace('_', '-')}", str(options[name])]
        return arguments

    async def _wait_until_ready(self) -> None:
        assert self.process is not None
        assert self.process.stdout is not None
        try:
            async with asyncio.timeout(_START_TIMEOUT_SECONDS):
                answer = json.loads(await self.process.stdout.readline())
        except (TimeoutError, ValueError) as error:
            raise self.failure("the embedded engine did not start", remedy="run `megadocs doctor`") from error
        if "error" in answer:
            parts = answer["error"]
            raise InputError(parts["what"], where=parts["where"], remedy=parts["remedy"])
        self.precision = answer["precision"]

    async def ask(self, lane: int, body: Mapping[str, Any], timeout_seconds: float) -> dict[str, Any] | EngineFailure:
        """A worker's answer."""
        if not self._connections:
            return EngineFailure("connection", "the workers are being started again")
        process = self.process
        answer = await self._connections[lane % len(self._connections)].ask(body, timeout_seconds)
        if isinstance(answer, EngineFailure) and answer.kind == "connection" and process is not None:
            return await self.with_death(answer, process)
        return answer

    async def answers(self) -> bool:
        """Whether every worker answers a ping."""
        return bool(self._connections) and all(await asyncio.gather(*(one.ping() for one in self._connections)))

    async def close(self) -> None:
        """Drop the connections and end the processes."""
        connections, self._connections = self._connections, []
        for connection in connections:
            await connection.close()
        await self.end()

    @property
    def process_ids(self) -> list[int]:
        """Of the process and its children."""
        if not self.is_running or self.process is None:
            return []
        pid = self.process.pid
        return [pid, *child_processes(pid)]


class _Connection:
    """Requests to one worker and their answers, as they come."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self._numbers = itertools.count()
        self._waiting: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._heard_at = 0.0
        self._listener = asyncio.create_task(self._listen())
        self._is_open = True

    @classmethod
    async def open(cls, ours: socket.socket) -> _Connection:
        reader, writer = await asyncio.open_unix_connection(sock=ours, limit=_MAX_LINE_BYTES)
        return cls(reader, writer)

    async def ask(self, body: Mapping[str, Any], timeout_seconds: float) -> dict[str, Any] | EngineFailure:
        number = next(self._numbers)
        answer = await self._exchange(number, {"id": number, **body}, timeout_seconds)
        if answer is None:
            if not self._is_open:
                return EngineFailure("connection", "the worker ended")
            self._send({"cancel": number})
            return EngineFailure("timeout", f"no sign of life within {timeout_seconds:g} s")
        if "failure" in answer:
            return EngineFailure(cast(FailureKind, answer["failure"]), str(answer["message"]))
        return answer

    async def ping(self) -> bool:
        number = next(self._numbers)
        return await self._exchange(number, {"ping": number}, _PING_SECONDS) is not None

    async def _exchange(self, number: int, message: Mapping[str, Any], seconds: float) -> dict[str, Any] | None:
        """The answer; None when the worker has been silent for so long, or is gone.

        The clock starts anew with whatever the worker says: 48 sequences on a third of a core take more than 300 s.
        """
        if not self._is_open:
            return None
        loop = asyncio.get_running_loop()
        future: asyncio.Future[dict[str, Any]] = loop.create_future()
        self._waiting[number] = future
        sent = loop.time()
        try:
            self._send(message)
            while not future.done():
                left = max(sent, self._heard_at) + seconds - loop.time()
                if left <= 0:
                    return None
                await asyncio.wait([future], timeout=left)
            return future.result()
        except ConnectionError:
            return None
        finally:
            del self._waiting[number]

    def _send(self, message: Mapping[str, Any]) -> None:
        self._writer.write(json.dumps(message).encode() + b"\n")

    async def _listen(self) -> None:
        try:
            while line := await self._reader.readline():
                answer = json.loads(line)
                self._heard_at = asyncio.get_running_loop().time()
                if "alive" in answer:
                    continue
                future = self._waiting.get(answer["pong"] if "pong" in answer else answer["id"])
                if future is not None and not future.done():
                    future.set_result(answer)
        except (OSError, ValueError, KeyError):  # a worker that died in the middle of a line
            pass
        self._is_open = False
        for future in self._waiting.values():
            if not future.done():
                future.set_exception(ConnectionError())

    async def close(self) -> None:
        self._listener.cancel()
        await asyncio.gather(self._listener, return_exceptions=True)
        self._is_open = False
        for future in self._waiting.values():
            if not future.done():
                future.set_exception(ConnectionError())
        self._writer.close()


def embedded_info(config: EngineConfig) -> EngineInfo:
    """What is known without starting anything: at most the hash of the model's files."""
    return EngineInfo(
        identity=model_identity(config),
        context_tokens=config.context_tokens,
        concurrency=config.concurrency * config.num_servers,
        num_batches=config.num_servers,
    )


def checked_options(config: EngineConfig) -> dict[str, Any]:
    """The sampling options among `generate.engine.options`; all of them are checked."""
    known = {*SAMPLING_DEFAULTS, *_MACHINE_OPTIONS}
    for name, value in config.options.items():
        where = f"generate.engine.options.{name}"
        if name == "repeat_penalty":
            raise RecipeError("this engine has no repeat_penalty", where=where, remedy="use frequency_penalty")
        if name not in known:
            raise RecipeError(
                f"unknown option {name!r}", where=where, remedy=f"known options: {', '.join(sorted(known))}"
            )
        is_number = isinstance(value, int | float) and not isinstance(value, bool) and value >= 0
        if name == "precision" and value not in PRECISIONS:
            raise RecipeError(f"no precision {value!r}", where=where, remedy=f"one of {', '.join(PRECISIONS)}")
        if name != "precision" and not (is_number and (name in _FRACTIONS or isinstance(value, int))):
            raise RecipeError(f"{value!r} is no size", where=where, remedy="give a number that is not negative")
    return {name: value for name, value in config.options.items() if name in SAMPLING_DEFAULTS}
