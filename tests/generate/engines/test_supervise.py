"""Whatever ends a supervisor or its parent, nothing of its command is left, not even what has a session of its own."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from megadocs.generate.engines import supervise

from .contract import wait_gone

#: Starts a child in its own session, as vLLM's API server starts its engine, which starts one in another.
COMMAND = """
import os, subprocess, sys, time
depth, folder = int(sys.argv[1]), sys.argv[2]
open(f"{folder}/{os.getpid()}", "w").close()
if depth:
    subprocess.Popen([sys.executable, "-c", sys.argv[3], str(depth - 1), folder, sys.argv[3]], start_new_session=True)
if depth == 2 and "leaves" in folder:
    while len(os.listdir(folder)) < 3:
        time.sleep(0.01)
    sys.exit(7)
time.sleep(600)
"""
#: Stands for the program that uses the supervisor: holds its standard input, waits. Tests under `nohup` would hand on
#: that a hang-up is ignored.
PARENT = """
import signal, subprocess, sys
signal.signal(signal.SIGHUP, signal.SIG_DFL)
subprocess.Popen(sys.argv[1:], stdin=subprocess.PIPE).wait()
"""


def supervisor(folder: Path) -> list[str]:
    folder.mkdir()
    return [sys.executable, supervise.__file__, sys.executable, "-c", COMMAND, "2", str(folder), COMMAND]


def wait_started(folder: Path) -> list[int]:
    deadline = time.monotonic() + 60
    while len(list(folder.iterdir())) < 3:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return [int(path.name) for path in folder.iterdir()]


def test_closed_input_ends_all(tmp_path):
    process = subprocess.Popen(supervisor(tmp_path / "pids"), stdin=subprocess.PIPE)
    started = wait_started(tmp_path / "pids")
    process.stdin.close()
    process.wait(30)
    wait_gone(started)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_all(tmp_path, number):
    process = subprocess.Popen(supervisor(tmp_path / "pids"), stdin=subprocess.PIPE)
    started = wait_started(tmp_path / "pids")
    process.send_signal(number)
    assert process.wait(30) == 128 + number
    wait_gone(started)
    process.stdin.close()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGKILL])
def test_a_signal_to_the_parents_whole_group_ends_all(tmp_path, number):
    command = [sys.executable, "-c", PARENT, *supervisor(tmp_path / "pids")]
    parent = subprocess.Popen(command, start_new_session=True)
    started = wait_started(tmp_path / "pids")
    os.killpg(parent.pid, number)
    parent.wait(30)
    wait_gone(started)


def test_a_command_that_ends_leaves_nothing_behind(tmp_path):
    process = subprocess.Popen(supervisor(tmp_path / "leaves"), stdin=subprocess.PIPE)
    assert process.wait(60) == 7
    wait_gone([int(path.name) for path in (tmp_path / "leaves").iterdir()])
    process.stdin.close()
