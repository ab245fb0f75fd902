"""One HTTP/1.1 connection: a request goes out, one bounded response comes back.

Both framings of a body are read (Content-Length, chunked) and the body that ends with the connection; heads and bodies
have size caps. What is not HTTP is a `ValueError`; a connection that ends early an `EOFError` or `ConnectionError`.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping
from dataclasses import dataclass

_MAX_HEAD_BYTES = 64 * 1024
_READ_BYTES = 64 * 1024
_MAX_INFORMATIONAL = 10


class ReplyTooLargeError(Exception):
    """The response's body is over the cap."""


@dataclass(frozen=True, slots=True)
class Response:
    """Status, headers by lower-case name, whole body, and whether the connection can serve again."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    keeps_alive: bool


class Connection:
    """A connection that carries one exchange at a time."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self.has_received = False

    @classmethod
    async def open(cls, host: str, port: int, tls: ssl.SSLContext | None) -> Connection:
        """Connect; certificates are checked when `tls` is given."""
        reader, writer = await asyncio.open_connection(host, port, ssl=tls, limit=_MAX_HEAD_BYTES)
        return cls(reader, writer)

    @property
    def is_usable(self) -> bool:
        """Whether the other side still keeps it open, as far as is known."""
        return not self._reader.at_eof() and not self._writer.is_closing()

    def close(self) -> None:
        """Drop it."""
        self._writer.close()

    async def exchange(self, request: bytes, max_body_bytes: int) -> Response:
        """Send one request and read its response."""
        self.has_received = False
        self._writer.write(request)
        await self._writer.drain()
        for _ in range(_MAX_INFORMATIONAL):
            status, headers, is_http_11 = await self._read_head()
            if status >= 200:
                break
        body, is_delimited = await self._read_body(status, headers, max_body_bytes)
        keeps_alive = is_delimited and is_http_11 and headers.get("connection", "").lower() != "close"
        return Response(status, headers, body, keeps_alive)

    async def _read_head(self) -> tuple[int, dict[str, str], bool]:
        try:
            head = await self._reader.readuntil(b"\r\n\r\n")
        except asyncio.LimitOverrunError as error:
            raise ValueError("the response's head is too long") from error
        except asyncio.IncompleteReadError as error:
            self.has_received = bool(error.partial)
            raise EOFError("the server closed the connection") from error
        self.has_received = True
        first, *lines = head[:-4].decode("latin-1").split("\r\n")
        version, _, rest = first.partition(" ")
        if not version.startswith("HTTP/1.") or not rest[:3].isdecimal():
            raise ValueError("no HTTP status line")
        headers: dict[str, str] = {}
        for line in lines:
            name, _, value = line.partition(":")
            headers[name.strip().lower()] = value.strip()
        return int(rest[:3]), headers, version == "HTTP/1.1"

    async def _read_body(self, status: int, headers: Mapping[str, str], cap: int) -> tuple[bytes, bool]:
        """The body, and whether its end is known without closing the connection."""
        if status in (204, 304):
            return b"", True
        if "chunked" in headers.get("transfer-encoding", "").lower():
            return await self._read_chunks(cap), True
        if "content-length" not in headers:
            return await self._read_to_end(cap), False
        text = headers["content-length"]
        if not (text.isascii() and text.isdecimal()):
            raise ValueError("bad Content-Length")
        if int(text) > cap:
            raise ReplyTooLargeError
        return await self._read_exactly(int(text)), True

    async def _read_chunks(self, cap: int) -> bytes:
        body = bytearray()
        while True:
            line = await self._reader.readline()
            if not line.endswith(b"\n"):
                raise EOFError("the server closed the connection")
            size = int(line.split(b";")[0].strip(), 16)
            if size < 0 or len(body) + size > cap:
                raise ReplyTooLargeError
            if size == 0:
                while (await self._reader.readline()).strip():  # trailers
                    pass
                return bytes(body)
            body += (await self._read_exactly(size + 2))[:-2]

    async def _read_to_end(self, cap: int) -> bytes:
        body = bytearray()
        while data := await self._reader.read(_READ_BYTES):
            body += data
            if len(body) > cap:
                raise ReplyTooLargeError
        return bytes(body)

    async def _read_exactly(self, count: int) -> bytes:
        try:
            return await self._reader.readexactly(count)
        except asyncio.IncompleteReadError as error:
            raise EOFError("the server closed the connection") from error
