"""A real HTTP server on loopback that stands in for a language model in tests and benchmarks.

    python -m megadocs.generate.engines.fake_server --options '{"faults": "503:0.1"}' --log requests.jsonl

Replies and faults are those of `fake_replies`. It speaks `/v1/chat/completions`, `/v1/completions`, `/v1/models`,
`/health` and `/stats` (requests received so far); `--log` appends the digest of every completion request, so that a
test can count what was sent across kills of its client.
"""

from __future__ import annotations

import argparse
import asyncio
import collections
import contextlib
import json
import sys
from pathlib import Path
from typing import Any

from megadocs.generate.engines.fake_replies import FakeScript, build_reply, choose_fault, request_digest

_HANG_SECONDS = 3600.0
_DRIP_SECONDS = 0.2
_HUGE_BYTES = 64 * 1024 * 1024


class FakeServer:
    """The server; `await start()` returns its address."""

    def __init__(self, script: FakeScript, *, model: str = "fake", log: Path | None = None) -> None:
        self.script = script
        self.model = model
        self.num_requests = 0
        self.num_seen: collections.Counter[bytes] = collections.Counter()
        self.is_down = False
        self._log = log
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()

    async def start(self, port: int = 0) -> str:
        """Listen on 127.0.0.1; port 0 takes a free one."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", port, limit=1 << 24)
        return f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def close(self) -> None:
        """Stop listening and drop all connections."""
        if self._server is not None:
            self._server.close()
            for task in tuple(self._connections):
                task.cancel()
            await asyncio.gather(*self._connections, return_exceptions=True)
            self._server = None

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        try:
            while await self._serve_one(reader, writer):
                pass
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            self._connections.discard(task)
            writer.close()
            with contextlib.suppress(ConnectionError, asyncio.CancelledError):
                await writer.wait_closed()

    async def _serve_one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Answer one request; False when the connection is to be closed."""
        head = await reader.readuntil(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines) if name}
        data = await reader.readexactly(int(headers.get("content-length", "0")))
        method, path, _ = first.split(" ", 2)
        if self.is_down:
            return False
        keep = headers.get("connection", "").lower() != "close"
        if method == "GET":
            await _send(writer, 200, self._describe(path))
            return keep
        return await self._complete(writer, json.loads(data)) and keep

    def _describe(self, path: str) -> dict[str, Any]:
        if path == "/stats":
            return {"num_requests": self.num_requests, "num_distinct": len(self.num_seen)}
        return {"object": "list", "status": "ok", "data": [{"id": self.model, "object": "model"}]}

    async def _complete(self, writer: asyncio.StreamWriter, body: dict[str, Any]) -> bool:
        script, digest = self.script, request_digest(body)
        times_seen = self.num_seen[digest]
        self.num_seen[digest] += 1
        self.num_requests += 1
        if self._log is not None:
            with self._log.open("a") as file:
                file.write(digest.hex() + "\n")
        if script.latency_seconds:
            await asyncio.sleep(script.latency_seconds)
        fault = choose_fault(script, digest, times_seen)
        if fault is not None:
            return await _misbehave(writer, fault)
        model = self.model
        if script.model_after is not None and self.num_requests > script.model_after:
            model = f"{model}-changed"
        await _send(writer, 200, build_reply(script, body, digest, model))
        return True


async def _misbehave(writer: asyncio.StreamWriter, fault: str) -> bool:
    """Do what the fault says; False when the connection is to be closed."""
    if fault in ("429", "429_after", "500", "503", "broken"):
        status = {"429_after": 429, "broken": 400}.get(fault) or int(fault)
        extra = "Retry-After: 0.05\r\n" if fault == "429_after" else ""
        await _send(writer, status, {"error": {"type": fault, "message": "scripted fault"}}, extra)
        return True
    if fault == "html":
        await _send_bytes(writer, 200, b"<html><body>Bad gateway</body></html>", "text/html")
        return True
    if fault == "no_choices":
        await _send(writer, 200, {"choices": []})
        return True
    if fault == "truncated":
        await _send_bytes(writer, 200, b'{"choices": [{"mess', "application/json")
        return True
    if fault == "hang":
        await asyncio.sleep(_HANG_SECONDS)
    elif fault == "drip":
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
        while True:
            writer.write(b" ")
            await writer.drain()
            await asyncio.sleep(_DRIP_SECONDS)
    elif fault == "huge":
        writer.write(f"HTTP/1.1 200 OK\r\nContent-Length: {_HUGE_BYTES}\r\n\r\n".encode())
        for _ in range(_HUGE_BYTES >> 16):
            writer.write(b" " * (1 << 16))
            await writer.drain()
    return False  # reset: close without a word


async def _send(writer: asyncio.StreamWriter, status: int, value: dict[str, Any], extra: str = "") -> None:
    await _send_bytes(writer, status, json.dumps(value).encode(), "application/json", extra)


async def _send_bytes(writer: asyncio.StreamWriter, status: int, data: bytes, kind: str, extra: str = "") -> None:
    head = f"HTTP/1.1 {status} X\r\nContent-Type: {kind}\r\nContent-Length: {len(data)}\r\n{extra}\r\n"
    writer.write(head.encode("latin-1") + data)
    await writer.drain()


async def _serve_until_input_closes(arguments: argparse.Namespace) -> None:
    script = FakeScript.parse(json.loads(arguments.options))
    server = FakeServer(script, model=arguments.model, log=arguments.log)
    print(json.dumps({"address": await server.start(arguments.port)}), flush=True)
    await asyncio.to_thread(sys.stdin.buffer.read)
    await server.close()


def main() -> None:
    """Serve until standard input closes."""
    parser = argparse.ArgumentParser(description="fake language model server for tests")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--model", default="fake")
    parser.add_argument("--options", default="{}", help="fault script as JSON")
    parser.add_argument("--log", type=Path, default=None)
    asyncio.run(_serve_until_input_closes(parser.parse_args()))


if __name__ == "__main__":
    main()
