"""One HTTP client for every engine that speaks HTTP: JSON in, JSON or an `EngineFailure` out.

Every attempt has a deadline, every reply a size cap, no redirect is followed (a key must not travel to another origin),
the API key is sent to its own origin only and appears in no message. Only http and https addresses are taken; no proxy
is used.

HTTP/1.1 is spoken directly on asyncio streams with kept-alive connections (`connection`): a run with a general client
(httpx) cost ten times the CPU a record, time that a small model on the same machine would miss.
"""

from __future__ import annotations

import asyncio
import email.utils
import json
import ssl
import time
import urllib.parse
from collections.abc import Mapping
from typing import Any

from megadocs.errors import RecipeError
from megadocs.generate.engines.connection import Connection, ReplyTooLargeError, Response
from megadocs.generate.engines.protocol import EngineFailure, FailureKind

MAX_REPLY_BYTES = 8 * 1024 * 1024
_encode_json = json.JSONEncoder(ensure_ascii=True, separators=(",", ":")).encode
_LOOPBACK = {"localhost", "127.0.0.1", "::1"}


class HttpClient:
    """Connections to one server.

    Args:
        base_url: `http(s)://host[:port][/path]`; request paths are appended to it.
        api_key: sent as a bearer token; None sends none.
    """

    def __init__(self, base_url: str, *, api_key: str | None = None) -> None:
        self.base_url = checked_url(base_url)
        parts = urllib.parse.urlsplit(self.base_url)
        assert parts.hostname is not None
        self._host, self._path = parts.hostname, parts.path
        self._port = parts.port or (443 if parts.scheme == "https" else 80)
        self._tls = ssl.create_default_context() if parts.scheme == "https" else None
        self._headers = f"Host: {parts.netloc}\r\nAccept: application/json\r\nUser-Agent: megadocs\r\n"
        if api_key:
            if not api_key.isascii() or not api_key.isprintable():
                raise RecipeError("the API key holds characters that no key has", where="OPENAI_API_KEY")
            self._headers += f"Authorization: Bearer {api_key}\r\n"
        self._idle: list[Connection] = []
        self._busy: set[Connection] = set()

    def __repr__(self) -> str:
        return f"HttpClient({self.base_url!r})"

    async def post_json(
        self, path: str, body: Mapping[str, Any], timeout_seconds: float
    ) -> dict[str, Any] | EngineFailure:
        """The reply's JSON object, or why there is none."""
        data = _encode_json(body).encode("ascii")
        head = f"POST {self._path}{path} HTTP/1.1\r\n{self._headers}Content-Type: application/json\r\n"
        return await self._call(f"{head}Content-Length: {len(data)}\r\n\r\n".encode("ascii") + data, timeout_seconds)

    async def get_json(self, path: str, timeout_seconds: float) -> dict[str, Any] | EngineFailure:
        """As `post_json`, for a GET."""
        return await self._call(
            f"GET {self._path}{path} HTTP/1.1\r\n{self._headers}\r\n".encode("ascii"), timeout_seconds
        )

    async def close(self) -> None:
        """Drop all connections."""
        for connection in (*self._idle, *self._busy):
            connection.close()
        self._idle.clear()

    async def _call(self, request: bytes, timeout_seconds: float) -> dict[str, Any] | EngineFailure:
        try:
            async with asyncio.timeout(timeout_seconds):
                return read_response(await self._exchange(request))
        except TimeoutError:
            return EngineFailure("timeout", f"no complete reply within {timeout_seconds:g} s")
        except ReplyTooLargeError:
            return EngineFailure("too_large", f"the reply is over {MAX_REPLY_BYTES} bytes")
        except (OSError, EOFError) as error:
            return EngineFailure("connection", f"{type(error).__name__}: {one_line(str(error))}")
        except ValueError as error:
            return EngineFailure("malformed", f"not HTTP: {one_line(str(error))}")

    async def _exchange(self, request: bytes) -> Response:
        """Send on a kept connection, or on a new one. A kept one that the server closed meanwhile is replaced once."""
        while self._idle:
            connection = self._idle.pop()
            if connection.is_usable:
                try:
                    return await self._send(connection, request)
                except (ConnectionError, EOFError):
                    if connection.has_received:  # it answered in part: the caller decides about sending again
                        raise
                    break
            connection.close()
        return await self._send(await Connection.open(self._host, self._port, self._tls), request)

    async def _send(self, connection: Connection, request: bytes) -> Response:
        self._busy.add(connection)
        keep = False
        try:
            response = await connection.exchange(request, MAX_REPLY_BYTES)
            keep = response.keeps_alive
            return response
        finally:
            self._busy.discard(connection)
            if keep:
                self._idle.append(connection)
            else:
                connection.close()


def read_response(response: Response) -> dict[str, Any] | EngineFailure:
    """An HTTP response as the object it holds or as a failure of the taxonomy."""
    data = response.body
    if response.status != 200:
        kind = _kind_of_status(response.status, data)
        message = f"HTTP {response.status}: {one_line(_reason(data))}"
        return EngineFailure(kind, message, _retry_after(response.headers))
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        return EngineFailure("malformed", f"not JSON ({len(data)} bytes, {response.headers.get('content-type', '?')})")
    if not isinstance(value, dict):
        return EngineFailure("malformed", "the reply is not a JSON object")
    return value


def checked_url(url: str) -> str:
    """The address without its last slash; `RecipeError` unless it is http or https with a host and nothing odd."""
    try:
        parts = urllib.parse.urlsplit(url)
        is_good = (
            bool(parts.hostname) and (parts.port is None or parts.port > 0) and url.isascii() and url.isprintable()
        )
        is_good = is_good and " " not in url and not (parts.username or parts.query or parts.fragment)
    except ValueError:
        is_good = False
    if not is_good or parts.scheme not in ("http", "https"):
        raise RecipeError(
            "not a server address",
            where="generate.engine.base_url",
            remedy="write http://host:port/v1 or https://host/v1",
        )
    return url.rstrip("/")


def is_loopback(url: str) -> bool:
    """Whether an address is on this machine."""
    return (urllib.parse.urlsplit(url).hostname or "") in _LOOPBACK


def one_line(text: str, limit: int = 200) -> str:
    """Text for a message: control characters and line ends as spaces, cut to `limit` characters."""
    return "".join(character if character.isprintable() else " " for character in text)[:limit].strip()


def _kind_of_status(status: int, data: bytes) -> FailureKind:
    if status == 429:
        return "rate_limited"
    if status in (401, 403):
        return "unauthorised"
    if status >= 500 or status in (408, 425):
        return "server_error"
    text = data[:4000].decode("utf-8", "replace").lower()
    if status in (400, 413, 422) and "context" in text and ("length" in text or "exceed" in text or "size" in text):
        return "context_length"
    return "bad_request"


def _reason(data: bytes) -> str:
    """The kind of error a server names; never its prose, which may quote the document."""
    try:
        value = json.loads(data[:100_000])
    except (ValueError, RecursionError):
        return f"{len(data)} bytes that are not JSON"
    inner = value.get("error", value) if isinstance(value, dict) else None
    if isinstance(inner, dict):
        return str(inner.get("type") or inner.get("code") or "error")
    return "error"


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds to wait, from a Retry-After header in either form; None without one."""
    value = headers.get("retry-after", "").strip()
    if not value:
        return None
    try:
        return max(0.0, float(value))
    except ValueError:
        pass
    try:
        return max(0.0, email.utils.parsedate_to_datetime(value).timestamp() - time.time())
    except (TypeError, ValueError):
        return None
