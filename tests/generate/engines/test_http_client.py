"""The HTTP client against hand-written bytes: framings, limits, strange servers, keys, addresses."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import pytest

from megadocs.errors import RecipeError
from megadocs.generate.engines import http_client
from megadocs.generate.engines.failures import failure_of_answer
from megadocs.generate.engines.http_client import HttpClient
from megadocs.generate.engines.protocol import EngineFailure

OK = b'HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n{"a":1}'


async def ask(
    answers: list[bytes], *, close: bool = False, key: str | None = None
) -> tuple[list[Any], list[bytes], int]:
    """What the client makes of raw answers, what it sent, and how many connections it opened."""
    sent: list[bytes] = []
    waiting = list(answers)
    num_connections = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal num_connections
        num_connections += 1
        try:
            while waiting:
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
                sent.append(head + await reader.readexactly(length))
                answer = waiting.pop(0)
                for start in range(0, len(answer), 5):  # in small pieces
                    writer.write(answer[start : start + 5])
                    await writer.drain()
                if close:
                    break
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    client = HttpClient(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/base", api_key=key)
    results = [await client.post_json("/path", {"x": "é\ud800"}, 2.0) for _ in answers]
    await client.close()
    server.close()
    return results, sent, num_connections


def test_keeps_its_connection_and_sends_plain_ascii() -> None:
    results, sent, connections = asyncio.run(ask([OK, OK, OK], key="secret"))
    assert results == [{"a": 1}] * 3
    assert connections == 1
    assert sent[0].startswith(b"POST /base/path HTTP/1.1\r\nHost: 127.0.0.1:")
    assert b"Authorization: Bearer secret\r\n" in sent[0]
    assert sent[0].endswith(b'{"x":"\\u00e9\\ud800"}')


@pytest.mark.parametrize(
    "answer",
    [
        b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\n{"a\r\n4;x=y\r\n":1}\r\n0\r\nTrailer: 1\r\n\r\n',
        b"HTTP/1.1 100 Continue\r\n\r\n" + OK,
        b'HTTP/1.0 200 OK\r\ncontent-length:7\r\n\r\n{"a":1}',
    ],
)
def test_framings(answer: bytes) -> None:
    results, _, _ = asyncio.run(ask([answer, OK]))
    assert results == [{"a": 1}] * 2


def test_a_body_that_ends_with_the_connection() -> None:
    results, _, connections = asyncio.run(ask([b'HTTP/1.1 200 OK\r\n\r\n{"a":1}', OK], close=True))
    assert results == [{"a": 1}] * 2
    assert connections == 2


@pytest.mark.parametrize(
    "answer, kind",
    [
        (b"SSH-2.0-x\r\n\r\n", "malformed"),
        (b"HTTP/1.1 abc\r\n\r\n", "malformed"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", "malformed"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", "malformed"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"y" * 100_000 + b"\r\n\r\n", "malformed"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n", "too_large"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffff\r\n", "connection"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nshort", "connection"),
        (b"HTTP/1.1 200 OK\r\nContent-Le", "connection"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]", "malformed"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc", "malformed"),
        (b"HTTP/1.1 307 Go\r\nLocation: http://evil.example/\r\nContent-Length: 0\r\n\r\n", "bad_request"),
    ],
)
def test_strange_answers_are_failures(answer: bytes, kind: str) -> None:
    results, _, _ = asyncio.run(ask([answer], close=True))
    assert isinstance(results[0], EngineFailure)
    assert results[0].kind == kind


def test_random_bytes_never_raise() -> None:
    rng = random.Random(3)
    for _ in range(150):
        data = bytearray(
            rng.choice([OK, b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n7\r\n{"a":1}\r\n0\r\n\r\n'])
        )
        for _ in range(rng.randrange(1, 6)):
            data[rng.randrange(len(data))] = rng.randrange(256)
        results, _, _ = asyncio.run(ask([bytes(data)], close=True))
        assert isinstance(results[0], dict | EngineFailure)


def test_a_reply_over_the_cap(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_client, "MAX_REPLY_BYTES", 100)
    for answer in (
        b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 300,
        b"HTTP/1.1 200 OK\r\nContent-Length: 101\r\n\r\n" + b"x" * 101,
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + (b"40\r\n" + b"x" * 64 + b"\r\n") * 3,
    ):
        results, _, _ = asyncio.run(ask([answer], close=True))
        assert results[0].kind == "too_large"


@pytest.mark.parametrize(
    "status, body, kind",
    [
        (401, b"{}", "unauthorised"),
        (403, b"<html>", "unauthorised"),
        (408, b"", "server_error"),
        (400, b'{"error": {"message": "maximum context length is 2048 tokens"}}', "context_length"),
        (400, b'{"error": {"type": "exceed_context_size_error"}}', "context_length"),
        (422, b'{"error": {"message": "bad top_p"}}', "bad_request"),
        (502, b"", "server_error"),
    ],
)
def test_statuses(status: int, body: bytes, kind: str) -> None:
    failure = failure_of_answer(status, {}, body)
    assert isinstance(failure, EngineFailure)
    assert failure.kind == kind


def test_retry_after_in_both_forms() -> None:
    seconds = failure_of_answer(429, {"retry-after": "7"}, b"")
    date = failure_of_answer(429, {"retry-after": "Wed, 21 Oct 2065 07:28:00 GMT"}, b"")
    nonsense = failure_of_answer(429, {"retry-after": "soon"}, b"")
    assert isinstance(seconds, EngineFailure)
    assert isinstance(date, EngineFailure)
    assert isinstance(nonsense, EngineFailure)
    assert seconds.retry_after_seconds == 7
    assert date.retry_after_seconds is not None
    assert date.retry_after_seconds > 1e9
    assert nonsense.retry_after_seconds is None


def test_the_key_is_in_no_message_and_no_repr() -> None:
    client = HttpClient("https://example.com/v1/", api_key="sk-secret")
    assert "secret" not in repr(client)
    assert client.base_url == "https://example.com/v1"
    with pytest.raises(RecipeError) as caught:
        HttpClient("http://example.com", api_key="sk\r\nX-Evil: 1")
    assert "Evil" not in str(caught.value)


@pytest.mark.parametrize("url", ["ftp://a/", "http://", "http://u:p@a/", "http://a:x/"])
def test_addresses_that_are_refused(url: str) -> None:
    with pytest.raises(RecipeError, match="server address") as caught:
        HttpClient(url)
    assert "u:p" not in str(caught.value)


def test_a_proxy_is_for_other_machines_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Text that stays on this machine must not leave it on the way."""
    seen: list[bytes] = []

    async def main() -> list[Any]:
        async def proxy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
            seen.append(head + await reader.readexactly(length))
            writer.write(OK)
            await writer.drain()
            writer.close()

        server = await asyncio.start_server(proxy, "127.0.0.1", 0)
        address = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
        monkeypatch.setenv("http_proxy", f"http://{address}")
        far, near = HttpClient("http://far.example/v1"), HttpClient("http://127.0.0.1:9/v1")
        monkeypatch.setenv("no_proxy", "far.example")
        excepted = HttpClient("http://far.example/v1")
        results = [await client.post_json("/x", {"a": 1}, 3.0) for client in (far, near)]
        assert excepted._proxy is None
        for client in (far, near, excepted):
            await client.close()
        server.close()
        return results

    through, refused = asyncio.run(main())
    assert through == {"a": 1}
    assert seen[0].startswith(b"POST http://far.example/v1/x HTTP/1.1")
    assert isinstance(refused, EngineFailure)
    assert refused.kind == "connection"
    assert len(seen) == 1


def test_a_key_with_its_line_end() -> None:
    _, sent, _ = asyncio.run(ask([OK], key="secret\n"))
    assert b"Authorization: Bearer secret\r\n" in sent[0]
    with pytest.raises(RecipeError, match="blank, a line end") as caught:
        HttpClient("http://example.com", api_key="sec ret")
    assert "sec ret" not in str(caught.value)


async def through_proxy(answer: bytes, url: str, monkeypatch: pytest.MonkeyPatch) -> EngineFailure:
    """What the client makes of a proxy's own answer."""

    async def proxy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(proxy, "127.0.0.1", 0)
    address = f"user:pass-word@127.0.0.1:{server.sockets[0].getsockname()[1]}"
    for scheme in ("http", "https"):
        monkeypatch.setenv(f"{scheme}_proxy", address)  # without http://, as curl takes it
    client = HttpClient(url)
    result = await client.post_json("/x", {"a": 1}, 3.0)
    await client.close()
    server.close()
    assert isinstance(result, EngineFailure)
    return result


@pytest.mark.parametrize("url", ["http://far.example/v1", "https://far.example/v1"])
@pytest.mark.parametrize(
    "status, kind, words",
    [
        (b"407 Proxy Authentication Required", "unauthorised", "the proxy refuses: HTTP 407"),
        (b"403 Forbidden", "unauthorised", "403"),
        (b"503 Busy", None, "503"),
    ],
)
def test_what_a_proxy_says(
    url: str, status: bytes, kind: str | None, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = b"HTTP/1.1 " + status + b"\r\nContent-Length: 0\r\n\r\n"
    failure = asyncio.run(through_proxy(answer, url, monkeypatch))
    # To https only CONNECT reaches the proxy; to http its 503 may be the server's own: both are weather.
    assert failure.kind == (kind or ("connection" if url.startswith("https") else "server_error"))
    assert words in failure.message
    assert "pass-word" not in failure.message
    if url.startswith("https") or status.startswith(b"407"):
        assert failure.code == "proxy"


def test_a_proxy_that_hangs_up_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    failure = asyncio.run(through_proxy(b"", "https://far.example/v1", monkeypatch))
    assert (failure.kind, "through the proxy 127.0.0.1" in failure.message) == ("connection", True)
    assert "pass-word" not in failure.message


@pytest.mark.parametrize("proxy", ["socks5://127.0.0.1:1080", "http://", "http://127.0.0.1:none"])
def test_a_proxy_that_is_none_is_named_at_once(proxy: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("https_proxy", proxy)
    with pytest.raises(RecipeError, match="no http://host:port") as caught:
        HttpClient("https://far.example/v1")
    assert caught.value.where == "HTTPS_PROXY"
    assert "NO_PROXY" in str(caught.value.remedy)
    HttpClient("https://127.0.0.1:9/v1")


def test_https_to_a_port_without_tls_is_no_weather() -> None:
    async def main() -> Any:
        async def plain(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.read(10)
            writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            writer.close()

        server = await asyncio.start_server(plain, "127.0.0.1", 0)
        client = HttpClient(f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1")
        result = await client.post_json("/x", {}, 3.0)
        await client.close()
        server.close()
        return result

    failure = asyncio.run(main())
    assert failure.kind == "malformed"
    assert "TLS" in failure.message


def test_an_address_where_nobody_listens_is_given_up_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """A port whose queue is full drops the first packet, as a firewall does."""
    import socket

    monkeypatch.setattr(http_client, "_CONNECT_SECONDS", 0.3)
    with socket.socket() as full, socket.socket() as first, socket.socket() as second:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        for waiting in (first, second):
            waiting.setblocking(False)
            waiting.connect_ex(full.getsockname())

        async def main() -> Any:
            client = HttpClient(f"http://127.0.0.1:{full.getsockname()[1]}/v1")
            result = await client.post_json("/x", {}, 20.0)
            await client.close()
            return result

        assert asyncio.run(main()) == EngineFailure("connection", "no connection within 0.3 s")


def test_an_error_in_words_within_a_200() -> None:
    from megadocs.generate.engines.http_client import read_answer

    failure = read_answer(200, {}, b'{"error": "model overloaded"}')
    assert isinstance(failure, EngineFailure)
    assert (failure.kind, failure.message) == ("server_error", "HTTP 500: model overloaded")


@pytest.mark.parametrize("status", [501, 505])
def test_what_is_not_implemented_never_will_be(status: int) -> None:
    failure = failure_of_answer(status, {}, b"{}")
    assert failure.kind == "bad_request"
