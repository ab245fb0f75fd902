"""One HTTP client for every engine that speaks HTTP: JSON in, JSON or an `EngineFailure` out.

aiohttp carries the bytes (kept connections, TLS settings, IPv6, proxies of the environment). On top of it: every
attempt has a deadline, every reply a size cap, no redirect is followed (a key must not travel to another origin), the
API key is sent to its own origin only and appears in no message, and only http and https addresses are taken. An
address on this machine is never asked through a proxy: text that stays here must not leave it on the way.
"""

from __future__ import annotations

import asyncio
import urllib.parse
import urllib.request
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import aiohttp
from yarl import URL

from megadocs.errors import RecipeError
from megadocs.generate.engines.failures import failure_of_answer, failure_of_error, one_line
from megadocs.generate.engines.protocol import PROXY, EngineFailure
from megadocs.generate.quick_json import decode_json, encode_json
from megadocs.recipe.addresses import is_loopback
from megadocs.recipe.consent import checked_address

MAX_REPLY_BYTES = 8 * 1024 * 1024
_MAX_HEADER_BYTES = 64 * 1024
#: A lost first packet is sent again after 1 s and after 3 s: who has not answered by then is not there.
_CONNECT_SECONDS = 4.0
_JSON_HEADERS = {"Content-Type": "application/json"}


class HttpClient:
    """Connections to one server.

    Args:
        base_url: `http(s)://host[:port][/path]`; request paths are appended to it.
        api_key: sent as a bearer token; None sends none.
    """

    def __init__(self, base_url: str, *, api_key: str | None = None) -> None:
        self.base_url = checked_address(base_url, where="generate.engine.base_url")
        self._headers = {"Accept": "application/json", "User-Agent": "megadocs"}
        self._key = checked_key(api_key) if api_key else None
        if self._key:
            self._headers["Authorization"] = f"Bearer {self._key}"
        self._proxy = _proxy_for(self.base_url)
        self._urls: dict[str, URL] = {}
        self._session: aiohttp.ClientSession | None = None

    def __repr__(self) -> str:
        return f"HttpClient({self.base_url!r})"

    async def post_json(
        self, path: str, body: Mapping[str, Any], timeout_seconds: float
    ) -> dict[str, Any] | EngineFailure:
        """The reply's JSON object, or why there is none."""
        return await self._call("POST", path, encode_json(body), timeout_seconds)

    async def get_json(self, path: str, timeout_seconds: float) -> dict[str, Any] | EngineFailure:
        """As `post_json`, for a GET."""
        return await self._call("GET", path, None, timeout_seconds)

    async def close(self) -> None:
        """Drop all connections."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def _call(
        self, method: str, path: str, data: bytes | None, timeout_seconds: float
    ) -> dict[str, Any] | EngineFailure:
        try:
            async with asyncio.timeout(timeout_seconds):
                answer = await self._send(method, path, data)
        except aiohttp.ConnectionTimeoutError:  # before its parent: nobody is there
            return EngineFailure("connection", f"no connection{self._way()} within {_CONNECT_SECONDS:g} s")
        except TimeoutError:
            return EngineFailure("timeout", f"no complete reply within {timeout_seconds:g} s")
        except (aiohttp.ClientError, OSError, EOFError, ValueError) as error:
            return self._failure(error)
        if isinstance(answer, EngineFailure) and self._key and self._key in answer.message:
            return replace(answer, message=answer.message.replace(self._key, "***"))
        return answer

    def _failure(self, error: Exception) -> EngineFailure:
        """What an exception of aiohttp's means; its order of classes is from the special to the general."""
        what = one_line(str(error))
        match error:
            case aiohttp.ClientHttpProxyError():  # the proxy's own answer to CONNECT
                return _refused_by_proxy(error.status, f"{error.status} {one_line(error.message)}")
            case aiohttp.ClientResponseError():  # bytes came, and were not HTTP
                return EngineFailure("malformed", f"not HTTP: {one_line(str(error.message))}")
            case aiohttp.ClientSSLError():  # not transient: the port speaks no TLS, or its certificate is not trusted
                return EngineFailure("malformed", f"no TLS that is trusted here: {what}")
            case aiohttp.ClientError() | OSError() | EOFError():
                return EngineFailure("connection", f"{type(error).__name__}{self._way()}: {what}")
        return EngineFailure("malformed", f"not HTTP: {what}")

    def _way(self) -> str:
        """`, through the proxy HOST` where there is one (without the password that its address may hold)."""
        return "" if self._proxy is None else f", through the proxy {urllib.parse.urlsplit(self._proxy).hostname}"

    async def _send(self, method: str, path: str, data: bytes | None) -> dict[str, Any] | EngineFailure:
        if self._session is None:
            self._session = self._open_session()
        url = self._urls.get(path) or self._urls.setdefault(path, URL(self.base_url + path, encoded=True))
        headers = _JSON_HEADERS if data is not None else None
        request = self._session.request(
            method, url, data=data, headers=headers, allow_redirects=False, proxy=self._proxy
        )
        async with request as response:
            if response.status == 407:
                return _refused_by_proxy(407, f"407 {response.reason}")
            return read_answer(response.status, response.headers, await _bounded_body(response))

    def _open_session(self) -> aiohttp.ClientSession:
        """Inside the event loop. How many requests are in flight is the caller's; there are no cookies."""
        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0),
            headers=self._headers,
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_SECONDS),
            max_line_size=_MAX_HEADER_BYTES,
            max_field_size=_MAX_HEADER_BYTES,
        )


async def _bounded_body(response: aiohttp.ClientResponse) -> bytes | None:
    """The body, unpacked; None when it is over the cap."""
    if (response.content_length or 0) > MAX_REPLY_BYTES:
        response.close()
        return None
    body = bytearray()
    async for piece in response.content.iter_any():
        body += piece
        if len(body) > MAX_REPLY_BYTES:
            response.close()
            return None
    return bytes(body)


def read_answer(status: int, headers: Mapping[str, str], data: bytes | None) -> dict[str, Any] | EngineFailure:
    """An HTTP answer as the object it holds or as a failure of the taxonomy; `data` is None when it was too large."""
    if data is None:
        return EngineFailure("too_large", f"HTTP {status}: the reply is over {MAX_REPLY_BYTES} bytes", status=status)
    if not 200 <= status < 300:
        return failure_of_answer(status, headers, data)
    try:
        value = decode_json(data)
    except (ValueError, RecursionError):
        kind = one_line(headers.get("Content-Type", "no content type"), 60)
        return EngineFailure("malformed", f"HTTP {status}: {len(data)} bytes of {kind}, not JSON", status=status)
    if not isinstance(value, dict):
        return EngineFailure("malformed", f"HTTP {status}: the reply is not a JSON object", status=status)
    error = value.get("error")
    if isinstance(error, dict | str) and error and not value.get("choices"):  # a gateway that reports within a 200
        code = error.get("code") if isinstance(error, dict) else None
        return failure_of_error(code if isinstance(code, int) and 400 <= code < 600 else 500, value)
    return value


def checked_key(key: str) -> str:
    """The key without blanks and line ends around it (a file's last line end often comes along).

    Raises:
        RecipeError: it holds something inside that no header may hold; the message does not show it.
    """
    key = key.strip()
    if key.isascii() and key.isprintable() and " " not in key:
        return key
    raise RecipeError(
        "the API key holds a blank, a line end or another character that no key has",
        where="OPENAI_API_KEY",
        remedy="set it to the key alone, on one line",
    )


def _refused_by_proxy(status: int, what: str) -> EngineFailure:
    """One that wants a password or forbids the address says so to every request; one in trouble (5xx) is transient."""
    if status >= 500:
        return EngineFailure("connection", f"the proxy cannot reach the server: HTTP {what}", code=PROXY)
    return EngineFailure("unauthorised", f"the proxy refuses: HTTP {what}", status=status, code=PROXY)


def _proxy_for(url: str) -> str | None:
    """The proxy that the environment names for an address; none for this machine and for what NO_PROXY lists.

    Raises:
        RecipeError: it is none that speaks HTTP (SOCKS, say).
    """
    parts = urllib.parse.urlsplit(url)
    if is_loopback(url) or urllib.request.proxy_bypass(parts.netloc):
        return None
    named = urllib.request.getproxies().get(parts.scheme)
    if not named:
        return None
    proxy = named if "://" in named else f"http://{named}"
    try:
        split = urllib.parse.urlsplit(proxy)
        if split.scheme in ("http", "https") and split.hostname and split.port != 0:
            return proxy
    except ValueError:  # a port that is none
        pass
    raise RecipeError(
        "the proxy that the environment names is no http://host:port",
        where=f"{parts.scheme.upper()}_PROXY",
        remedy=f"name one that speaks HTTP, or list {parts.hostname} in NO_PROXY",
    )
