"""The server behind `megadocs watch`: one page, on the loopback address, made anew for each request.

with LiveServer(page, 8639) as server:
    server.serve()          # until Ctrl-C, SIGTERM, SIGHUP, or half an hour without a request
"""

from __future__ import annotations

import errno
import signal
import sys
import threading
import time
from collections.abc import Callable
from html import escape
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any

from megadocs.cli.console import say
from megadocs.errors import MegadocsError, UsageError

_ADDRESS = "127.0.0.1"
_IDLE_SECONDS = 1800.0
#: How long one look may wait for the next request before it sees that nobody came.
_POLL_SECONDS = 0.5


class _Server(ThreadingHTTPServer):
    def handle_error(self, request: Any, client_address: Any) -> None:
        """A browser that has left is no error; any other is one line, and the next look may go well."""
        error = sys.exc_info()[1]
        if not isinstance(error, ConnectionError | TimeoutError):
            say(f"the page could not be made: {type(error).__name__}: {error}")


class LiveServer:
    """Serves `page()` at `/`.

    Args:
        page: the HTML of this moment; a `MegadocsError` of it becomes a page that says so.
        port: 0 takes a free one.
        idle_seconds: without a request for so long it ends.

    Raises:
        UsageError: somebody listens on the port already.
    """

    def __init__(self, page: Callable[[], str], port: int, *, idle_seconds: float = _IDLE_SECONDS) -> None:
        self._last = time.monotonic()
        try:
            self._server = _Server((_ADDRESS, port), _handler(page, self._note_request))
        except OSError as error:
            if error.errno not in (errno.EADDRINUSE, errno.EACCES):
                raise
            what = "is in use" if error.errno == errno.EADDRINUSE else "is not yours to take"
            remedy = "name another with --port, or take a free one with --port 0"
            raise UsageError(f"port {port} {what}", where=f"{_ADDRESS}:{port}", remedy=remedy) from error
        self.port = int(self._server.server_address[1])
        self._server.timeout = _POLL_SECONDS
        self._idle_seconds = idle_seconds

    def __enter__(self) -> LiveServer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.server_close()

    def serve(self) -> None:
        """Answer until a signal asks for the end or nobody has asked for a long time; then return."""
        numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        # a note, not an exception: raised while a request is handed to its thread, the server would take it for an
        # error of the request and go on
        ended = threading.Event()
        former = {number: signal.signal(number, lambda *_: ended.set()) for number in numbers}
        self._note_request()
        try:
            while not ended.is_set() and time.monotonic() - self._last < self._idle_seconds:
                self._server.handle_request()
        finally:
            for number, handler in former.items():
                signal.signal(number, handler)

    def _note_request(self) -> None:
        self._last = time.monotonic()


def _handler(page: Callable[[], str], note_request: Callable[[], None]) -> type[BaseHTTPRequestHandler]:
    """A handler class around the page; browsers open connections ahead, so each has a thread, and the page a lock."""
    lock = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        timeout = 10  # a connection on which nothing is said
        server_version, sys_version = "megadocs", ""

        def do_GET(self) -> None:
            if not self._is_for_us():
                self._answer(421, "<p>This page is for a browser on this machine.</p>")
            elif self.path != "/":
                self._answer(404, "<p>There is one page here: <a href='/'>/</a></p>")
            else:
                try:
                    with lock:
                        html = page()
                    self._answer(200, html)
                except MegadocsError as error:
                    self._answer(500, f"<meta http-equiv='refresh' content='5'><p>{escape(str(error))}</p>")

        def _is_for_us(self) -> bool:
            """Whether the browser asked for this address: another name that leads here is somebody else's trick."""
            return self.headers.get("Host", "").rpartition(":")[0] in ("127.0.0.1", "localhost")

        def _answer(self, status: int, html: str) -> None:
            note_request()
            body = html.encode("utf-8")
            self.send_response(status)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Cache-Control", "no-store")
            self.send_header("X-Content-Type-Options", "nosniff")
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *arguments: Any) -> None:
            """Requests are not worth a line each."""

    return Handler
