"""Promise P1: kill generation anywhere; nothing is lost, nothing stands twice, the export is the same, byte for byte.

Random SIGKILLs (R1), SIGKILL at every durable system call (R2, strace), every I/O call failing in turn (R5).
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from megadocs.errors import StoreError
from megadocs.generate import export_generations, load_index, plan_requests
from megadocs.store.framed_log import scan_frames

from .fake_process import FakeProcess
from .kill_driver import CONCURRENCY, build_config, build_documents, run_once

pytestmark = pytest.mark.faults

DRIVER = Path(__file__).with_name("kill_driver.py")


@pytest.fixture
def fake(tmp_path: Path) -> Iterator[FakeProcess]:
    server = FakeProcess(tmp_path / "requests.log", {"latency_seconds": 0.005, "reply_characters": 200})
    yield server
    server.close()


def export(ledger: Path, base_url: str, count: int) -> bytes:
    path = ledger.with_suffix(".parquet")
    counts = export_generations(plan_requests(build_config(base_url), "rephrase", build_documents(count)), ledger, path)
    assert counts["ok"] == counts["requested"] == 3 * count
    return path.read_bytes()


def num_frames(ledger: Path) -> int:
    return sum(scan_frames(path).num_frames for path in ledger.glob("records-*.log"))


@pytest.mark.slow
def test_two_hundred_random_kills(tmp_path: Path, fake: FakeProcess) -> None:
    killed = rounds = 0
    run_once(tmp_path / "calm", fake.base_url, 150)
    expected = export(tmp_path / "calm", fake.base_url, 150)
    while killed < 200:
        rounds += 1
        ledger, before = tmp_path / f"ledger-{rounds}", fake.num_requests
        arguments = [str(ledger), fake.base_url, "150", "100", str(rounds)]
        done = subprocess.run(
            [sys.executable, str(DRIVER), *arguments], stdout=subprocess.PIPE, check=True, timeout=280
        )
        result = json.loads(done.stdout)
        killed += result["num_killed"]
        assert export(ledger, fake.base_url, 150) == expected
        assert num_frames(ledger) == len(load_index(ledger)) == 450  # exactly one record each
        extra = fake.num_requests - before - 450
        assert 0 <= extra <= CONCURRENCY * result["num_killed"]
    print(f"{killed} kills in {rounds} rounds")


def count_calls(trace: Path) -> dict[str, int]:
    counts: dict[str, int] = {}
    for line in trace.read_text().splitlines():
        for name in ("fdatasync", "fsync", "ftruncate", "pwrite64", "write", "rename"):
            if f" {name}(" in line or line.startswith(f"{name}("):
                counts[name] = counts.get(name, 0) + 1
    return counts


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("strace") is None, reason="needs strace")
def test_a_kill_at_every_durable_system_call(tmp_path: Path, fake: FakeProcess) -> None:
    count, trace = 3, tmp_path / "trace"
    run_once(tmp_path / "calm", fake.base_url, count)
    expected = export(tmp_path / "calm", fake.base_url, count)

    def run(ledger: Path, *inject: str) -> int:
        command = ["strace", "-f", "-o", str(trace), "-e", "trace=write,pwrite64,fsync,fdatasync,ftruncate,rename"]
        environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
        arguments = [*command, *inject, sys.executable, str(DRIVER), str(ledger), fake.base_url, str(count)]
        return subprocess.run(arguments, env=environment, stderr=subprocess.DEVNULL, check=False, timeout=60).returncode

    if run(tmp_path / "traced") != 0:
        pytest.skip("strace may not trace here")
    counts = count_calls(trace)
    assert counts["write"] >= 9
    assert counts["fdatasync"] >= 1
    points = [(name, number) for name, total in counts.items() for number in range(1, total + 1)]
    num_killed = 0
    for name, number in points:
        ledger, before = tmp_path / f"at-{name}-{number}", fake.num_requests
        num_killed += run(ledger, "-e", f"inject={name}:signal=SIGKILL:when={number}") != 0
        run_once(ledger, fake.base_url, count)
        assert export(ledger, fake.base_url, count) == expected
        assert num_frames(ledger) == len(load_index(ledger)) == 3 * count
        assert fake.num_requests - before <= 3 * count + CONCURRENCY
    assert num_killed >= len(points) - 3  # timing may leave the last calls of a run out
    print(f"{num_killed} kills at {len(points)} calls: {counts}")


@pytest.mark.parametrize("name", ["write", "fdatasync", "open", "ftruncate"])
def test_every_call_fails_in_turn(
    tmp_path: Path, fake: FakeProcess, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    count = 2
    run_once(tmp_path / "calm", fake.base_url, count)
    expected = export(tmp_path / "calm", fake.base_url, count)
    real = getattr(os, name)
    for number in range(1, 40):
        ledger, calls = tmp_path / f"{name}-{number}", 0

        def failing(*arguments: object, failing_call: int = number, **more: object) -> object:
            nonlocal calls
            calls += 1
            if calls == failing_call:
                raise OSError(errno.ENOSPC, "No space left on device")
            return real(*arguments, **more)

        with monkeypatch.context() as patch, contextlib.suppress(StoreError):
            patch.setattr(os, name, failing)
            run_once(ledger, fake.base_url, count)  # any other exception fails the test
        run_once(ledger, fake.base_url, count)
        assert export(ledger, fake.base_url, count) == expected
        if calls < number:
            break
    else:
        pytest.fail("the calls never ended")


def test_a_small_disk_fills_up(tmp_path: Path, fake: FakeProcess) -> None:
    """A tmpfs of 256 KB: the run stops with the path named; more room, and the next run finishes."""
    script = (
        "set -e; mount -t tmpfs -o size=256k none $1; set +e; "
        "$2 $3 $1/ledger $4 400 2> $5/err; echo $? > $5/rc; set -e; "
        "mount -o remount,size=64m $1; $2 $3 $1/ledger $4 400; cp -r $1/ledger $5/ledger"
    )
    mount = tmp_path / "mount"
    mount.mkdir()
    arguments = [str(mount), sys.executable, str(DRIVER), fake.base_url, str(tmp_path)]
    done = subprocess.run(
        ["unshare", "-rm", "sh", "-c", script, "sh", *arguments], stderr=subprocess.PIPE, check=False, timeout=120
    )
    if done.returncode != 0 and not (tmp_path / "rc").exists():
        pytest.skip(f"no private mounts here: {done.stderr.decode()[:100]}")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "rc").read_text().strip() == "1"
    message = (tmp_path / "err").read_text()
    assert "No space left on device" in message
    assert "records-00000001.log" in message
    assert export(tmp_path / "ledger", fake.base_url, 400)
    assert num_frames(tmp_path / "ledger") == 1200
