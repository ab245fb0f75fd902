"""One HTTP client for every engine that speaks HTTP: JSON in, JSON or an `EngineFailure` out.

Every attempt has a deadline, every reply a size cap, no redirect is followed (a key must not travel to another origin),
the API key is sent to its own origin only and appears in no message. Only http and https addresses are taken.
"""

from __future__ import annotations

import asyncio
import email.utils
import json
import time
import urllib.parse
from collections.abc import Mapping
from typing import Any

import httpx

from megadocs.errors import RecipeError
from megadocs.generate.engines.protocol import EngineFailure, FailureKind

MAX_REPLY_BYTES = 8 * 1024 * 1024
_LOOPBACK = {"localhost", "127.0.0.1", "::1"}


class HttpClient:
    """Connections to one server.

    Args:
        base_url: `http(s)://host[:port][/path]`; request paths are appended to it.
        api_key: sent as a bearer token; None sends none.
        max_connections: connections kept open side by side.
    """

    def __init__(self, base_url: str, *, api_key: str | None = None, max_connections: int = 64) -> None:
        self.base_url = checked_url(base_url)
        headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
        limits = httpx.Limits(max_connections=max_connections, max_keepalive_connections=max_connections)
        self._client = httpx.AsyncClient(
            headers=headers, limits=limits, timeout=None, follow_redirects=False, trust_env=not is_loopback(base_url)
        )

    async def post_json(
        self, path: str, body: Mapping[str, Any], timeout_seconds: float
    ) -> dict[str, Any] | EngineFailure:
        """The reply's JSON object, or why there is none."""
        return await self._call("POST", path, body, timeout_seconds)

    async def get_json(self, path: str, timeout_seconds: float) -> dict[str, Any] | EngineFailure:
        """As `post_json`, for a GET."""
        return await self._call("GET", path, None, timeout_seconds)

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def _call(
        self, method: str, path: str, body: Mapping[str, Any] | None, timeout_seconds: float
    ) -> dict[str, Any] | EngineFailure:
        try:
            async with asyncio.timeout(timeout_seconds):
                async with self._client.stream(method, self.base_url + path, json=body) as response:
                    data = bytearray()
                    async for chunk in response.aiter_bytes():
                        data += chunk
                        if len(data) > MAX_REPLY_BYTES:
                            return EngineFailure("too_large", f"the reply is over {MAX_REPLY_BYTES} bytes")
                    return read_response(response.status_code, response.headers, bytes(data))
        except TimeoutError:
            return EngineFailure("timeout", f"no complete reply within {timeout_seconds:g} s")
        except httpx.TransportError as error:
            return EngineFailure("connection", f"{type(error).__name__}: {one_line(str(error))}")
        except httpx.DecodingError as error:
            return EngineFailure("malformed", f"undecodable body: {one_line(str(error))}")


def read_response(status: int, headers: Mapping[str, str], data: bytes) -> dict[str, Any] | EngineFailure:
    """An HTTP response as the object it holds or as a failure of the taxonomy."""
    if status != 200:
        return EngineFailure(
            _kind_of_status(status, data), f"HTTP {status}: {one_line(_reason(data))}", _retry_after(headers)
        )
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        return EngineFailure("malformed", f"not JSON ({len(data)} bytes, {headers.get('content-type', 'no type')})")
    if not isinstance(value, dict):
        return EngineFailure("malformed", "the reply is not a JSON object")
    return value


def checked_url(url: str) -> str:
    """The address without its last slash; `RecipeError` unless it is http or https with a host."""
    try:
        parts = urllib.parse.urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        host = None
        parts = urllib.parse.urlsplit("")
    if parts.scheme not in ("http", "https") or not host or parts.username or parts.query or parts.fragment:
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
    """The server's own words, from the usual places; never more than a line of them is kept."""
    try:
        value = json.loads(data[:100_000])
    except (ValueError, RecursionError):
        return f"{len(data)} bytes that are not JSON"
    if isinstance(value, dict):
        inner = value.get("error", value)
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
