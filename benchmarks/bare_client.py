"""What a server can do: a client of `bench_generate.py` that writes ready-made bodies and reads replies, nothing more.

No JSON is parsed, no record made, no error handled. Its rate is the server's; its CPU time is the floor for a client in
Python.
"""

from __future__ import annotations

import asyncio
import json
import time
import urllib.parse
from collections.abc import Sequence

from megadocs.documents import Document
from megadocs.generate import plan_requests
from megadocs.recipe import GenerateConfig


class _Lane(asyncio.Protocol):
    """One kept connection: the next body goes out when a reply is complete."""

    def __init__(self, queue: list[bytes], done: asyncio.Future[None]) -> None:
        self._queue, self._done = queue, done
        self._received, self._need = b"", 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._send()

    def data_received(self, data: bytes) -> None:
        self._received += data
        if not self._need:
            head, mark, _ = self._received.partition(b"\r\n\r\n")
            if not mark:
                return
            length = head.lower().split(b"content-length: ")[1].split(b"\r\n")[0]
            self._need = len(head) + 4 + int(length)
        if len(self._received) >= self._need:
            self._received, self._need = b"", 0
            self._send()

    def _send(self) -> None:
        if self._queue:
            self._transport.write(self._queue.pop())
        else:
            self._transport.close()
            self._done.set_result(None)


def bench_bare(config: GenerateConfig, documents: Sequence[Document]) -> dict[str, float]:
    """Send every request of the rephrase task once."""
    address = urllib.parse.urlsplit(config.engine.base_url or "")
    requests = plan_requests(config, "rephrase", documents)
    queue = []
    for request in requests:
        fields = {"model": config.engine.model, "max_tokens": request.max_new_tokens, "temperature": 1.0, "top_p": 1.0}
        body = json.dumps({**fields, "seed": request.seed(0), "messages": request.messages()}).encode()
        head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: {address.netloc}\r\nContent-Length: {len(body)}\r\n\r\n"
        queue.append(head.encode() + body)

    async def send_all() -> None:
        loop = asyncio.get_running_loop()
        ends = [loop.create_future() for _ in range(config.engine.concurrency)]
        for end in ends:
            await loop.create_connection(lambda end=end: _Lane(queue, end), address.hostname, address.port)
        await asyncio.gather(*ends)

    began, cpu = time.monotonic(), time.process_time()
    asyncio.run(send_all())
    return {
        "records_per_second": len(requests) / (time.monotonic() - began),
        "records_per_cpu_second": len(requests) / (time.process_time() - cpu),
    }
