"""`megadocs generate run` as a process of its own: killed again and again, grown, interrupted by signals (R1, R14)."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from generate.fake_process import FakeProcess
from megadocs.generate import load_index
from megadocs.store.framed_log import scan_frames
from pipeline.corpora import write_texts

pytestmark = pytest.mark.faults

MEGADOCS = [sys.executable, "-c", "from megadocs.cli import main; main()"]
CONCURRENCY = 4
RECIPE = """
name: killed
description: Rephrases of made-up prose by a fake server.
corpus: {{source: "{source}", split: auto}}
generate:
  engine: {{kind: openai, model: fake, base_url: "{base_url}", concurrency: 4}}
  rephrase: {{num_generations: 3, max_new_tokens: 60}}
arms:
  simple: {{stream.ordering: simple, mixture.synthetic_fraction: 0.75}}
seeds: [0]
"""


class Setting:
    """A recipe over made-up documents, a fake server, and the command line."""

    def __init__(self, directory: Path, latency_seconds: float) -> None:
        self.fake = FakeProcess(directory / "requests.log", {"latency_seconds": latency_seconds})
        self.recipe = directory / "killed.yaml"
        source = write_texts(directory / "texts", 120)
        self.recipe.write_text(RECIPE.format(source=source, base_url=self.fake.base_url))
        self.workspace = directory / "runs"
        self.ledger = self.workspace / "ledger" / "rephrase"

    def command(self, *arguments: str, workspace: Path | None = None) -> list[str]:
        verb, *rest = arguments
        return [*MEGADOCS, "generate", verb, str(self.recipe), *rest, "--workspace", str(workspace or self.workspace)]

    def call(self, *arguments: str, workspace: Path | None = None) -> str:
        done = subprocess.run(
            self.command(*arguments, workspace=workspace), capture_output=True, text=True, check=False, timeout=200
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Begin `generate run`; returns when the server has got some of its requests."""
        before = self.fake.num_requests
        process = subprocess.Popen(self.command("run", *arguments), stderr=subprocess.PIPE, text=True)
        deadline = time.monotonic() + 60
        while self.fake.num_requests < before + 6:
            assert process.poll() is None, process.communicate()[1]
            assert time.monotonic() < deadline
            time.sleep(0.02)
        return process

    def workers(self) -> list[int]:
        """Processes of this workspace that are not the command itself."""
        found = []
        for entry in Path("/proc").iterdir():
            with contextlib.suppress(OSError):
                command = (entry / "cmdline").read_bytes() if entry.name.isdigit() else b""
                if b"megadocs.pipeline.execute.worker" in command and str(self.workspace).encode() in command:
                    found.append(int(entry.name))
        return found

    def num_frames(self) -> int:
        return sum(scan_frames(path).num_frames for path in self.ledger.glob("records-*.log"))


@pytest.fixture
def setting(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Setting]:
    made = Setting(tmp_path, getattr(request, "param", 0.05))
    yield made
    made.fake.close()


def test_five_kills_and_more_generations(setting: Setting, tmp_path: Path) -> None:
    """kill -9 five times, with the worker and without it, raise G, resume, verify: none lost, none twice."""
    rng = random.Random(4)
    for number in range(5):
        process = setting.start()
        time.sleep(rng.uniform(0, 0.3))
        victims = [process.pid, *(setting.workers() if number % 2 else [])]  # an orphaned worker stops by itself
        for pid in victims:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        process.communicate()
        assert process.returncode == -signal.SIGKILL
        if setting.ledger.exists():
            assert setting.num_frames() == len(load_index(setting.ledger))  # never a record twice
    grown = "generate.rephrase.num_generations=6"
    setting.call("run", grown)
    (books,) = json.loads(setting.call("status", grown, "--json"))
    assert books["requested"] == books["ok"] == 6 * books["num_documents"] > 100
    assert (books["pending"], books["failed"]) == (0, 0)
    assert setting.num_frames() == len(load_index(setting.ledger)) == books["requested"]
    assert setting.fake.num_requests <= books["requested"] + 5 * CONCURRENCY
    verified = subprocess.run(
        [*MEGADOCS, "verify", str(setting.workspace)], capture_output=True, text=True, check=False
    )
    assert verified.returncode == 0, verified.stderr
    assert "0 problems" in verified.stderr
    calm = tmp_path / "calm"
    setting.call("run", grown, workspace=calm)
    for workspace in (setting.workspace, calm):
        setting.call("export", grown, workspace=workspace)
    exports = [(workspace / "export" / "rephrase.parquet").read_bytes() for workspace in (setting.workspace, calm)]
    assert exports[0] == exports[1]


@pytest.mark.parametrize(
    "number, code", [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)], ids=["int", "term", "hup"]
)
def test_a_signal_ends_the_run_in_good_order(setting: Setting, number: signal.Signals, code: int) -> None:
    process = setting.start()
    process.send_signal(number)
    messages = process.communicate(timeout=20)[1]
    assert process.returncode == code, messages
    assert "Traceback" not in messages
    assert "run the same command again" in messages
    assert setting.num_frames() == setting.fake.num_requests  # all that was in flight came back and was kept
    assert not setting.workers()
    setting.call("run")
    assert setting.num_frames() == setting.fake.num_requests


@pytest.mark.parametrize("setting", [60.0], indirect=True)
def test_a_second_signal_ends_it_at_once(setting: Setting) -> None:
    """Replies that take a minute: the first Ctrl-C waits for them, the second does not."""
    process = subprocess.Popen(setting.command("run"), stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    while setting.fake.num_requests < CONCURRENCY:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    time.sleep(1.0)
    assert process.poll() is None  # draining
    began = time.monotonic()
    process.send_signal(signal.SIGINT)
    messages = process.communicate(timeout=20)[1]
    assert time.monotonic() - began < 5
    assert process.returncode == 130, messages
    assert "Traceback" not in messages
    assert not setting.workers()
    assert setting.num_frames() == 0


def test_a_reader_that_has_gone_is_no_error(setting: Setting) -> None:
    process = subprocess.Popen(setting.command("status", "--json"), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.close()
    assert process.stderr is not None
    assert b"Traceback" not in process.stderr.read()
    assert process.wait(30) in (0, 1, 141)  # click ends a broken pipe with 1
    process.stderr.close()
