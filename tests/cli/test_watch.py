"""`megadocs watch` as a process: one page on the loopback address, and no server left behind."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

import megadocs as package
from megadocs.cli.watch_server import LiveServer
from megadocs.errors import InputError, UsageError


@pytest.fixture
def workspace(tmp_path):
    """One in which a run has just begun."""
    for name in ("locks", "logs"):
        (tmp_path / "begun" / name).mkdir(parents=True)
    return tmp_path / "begun"


@contextlib.contextmanager
def watching(workspace):
    """The process and its address."""
    environment = os.environ | {"PYTHONPATH": str(Path(package.__file__).parents[1]), "PYTHONUNBUFFERED": "1"}
    command = [sys.executable, "-m", "megadocs", "watch", str(workspace), "--port", "0"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment)
    try:
        yield process, process.stderr.readline().split()[0]
    finally:
        process.kill()
        process.wait()


def get(address, **headers):
    with urllib.request.urlopen(urllib.request.Request(address, headers=headers), timeout=20) as reply:
        return reply.read().decode()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_it_serves_the_page_until_a_signal_and_leaves_nothing(workspace, number):
    with watching(workspace) as (process, address):
        assert address.startswith("http://127.0.0.1:")
        assert "nothing runs here now" in get(address)
        with pytest.raises(urllib.error.HTTPError, match="421"):
            get(address, Host="evil.example")
        with pytest.raises(urllib.error.HTTPError, match="404"):
            get(address + "recipe.json")
        process.send_signal(number)
        assert process.wait(timeout=20) == 0
        with pytest.raises(OSError):
            get(address)


def test_a_signal_in_the_midst_of_a_request_ends_it_too():
    with LiveServer(lambda: "", 0, idle_seconds=60) as server:
        hand_over = server._server.process_request

        def interrupted(*request):
            signal.raise_signal(signal.SIGHUP)
            hand_over(*request)

        server._server.process_request = interrupted
        asker = threading.Thread(target=get, args=(f"http://127.0.0.1:{server.port}/",))
        asker.start()
        begun = time.monotonic()
        server.serve()
        assert time.monotonic() - begun < 30
        asker.join()


def test_it_ends_when_nobody_looks():
    with LiveServer(lambda: "", 0, idle_seconds=0.2) as server:
        server.serve()


@pytest.mark.parametrize("error", [None, OSError("the disk is gone")])
def test_neither_a_browser_that_leaves_nor_a_failing_look_prints_a_traceback(error, capsys):
    asked, left, over = threading.Event(), threading.Event(), threading.Event()

    def page():
        asked.set()
        left.wait(10)
        if error is not None:
            raise error
        return "x" * 10_000_000

    with LiveServer(page, 0) as server:
        close = server._server.shutdown_request
        server._server.shutdown_request = lambda request: (close(request), over.set())
        browser = socket.create_connection(("127.0.0.1", server.port))
        browser.sendall(f"GET / HTTP/1.0\r\nHost: 127.0.0.1:{server.port}\r\n\r\n".encode())
        server._server.handle_request()
        assert asked.wait(10)
        browser.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # leaves with a reset
        browser.close()
        left.set()
        assert over.wait(10)
    said = capsys.readouterr().err
    assert "Traceback" not in said
    assert ("the disk is gone" in said) == (error is not None)


def test_an_error_of_the_page_is_shown_and_the_server_goes_on():
    def page():
        raise InputError("gone & away", where="here", remedy="none")

    with LiveServer(page, 0, idle_seconds=3) as server:
        found = []

        def ask():
            try:
                get(f"http://127.0.0.1:{server.port}/")
            except urllib.error.HTTPError as error:
                found.append((error.code, error.read().decode()))

        asker = threading.Thread(target=ask)
        asker.start()
        server.serve()
        asker.join()
    assert found[0][0] == 500
    assert "gone &amp; away" in found[0][1]


def test_a_port_in_use_is_named_with_the_remedy(megadocs, workspace):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(UsageError, match="in use"):
            LiveServer(lambda: "", port)
        result = megadocs("watch", workspace, "--port", str(port))
    assert result.code == 2
    assert "--port 0" in result.stderr


def test_the_page_can_be_printed(megadocs, workspace):
    result = megadocs("watch", workspace, "--once")
    assert result.code == 0
    assert result.stdout.startswith("<!doctype html>")
    assert megadocs("watch", workspace / "nowhere").code == 2
