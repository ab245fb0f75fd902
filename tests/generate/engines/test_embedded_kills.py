"""Kills of the embedded engine's processes at every stage: no record is lost, none stands twice, none runs on.

Stages are told by what the ledger shows: the engine loads, prompts are read and nothing is written, the middle, the
last replies. Killed are the process that loads, one of its workers, and the run itself.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import megadocs
from megadocs.documents import Document
from megadocs.generate import load_index, run_generation
from megadocs.generate.engines import build_engine
from megadocs.generate.engines.embedded import EmbeddedEngine
from megadocs.recipe import GenerateConfig
from megadocs.store.framed_log import scan_frames

from .contract import alive, wait_gone
from .test_embedded import WORDS, folder  # noqa: F401  (a fixture)

pytestmark = pytest.mark.faults

NUM_DOCUMENTS, EACH = 10, 6
REQUESTED = NUM_DOCUMENTS * EACH
#: Stage -> records on disk from which on it has been reached.
STAGES = {"loading": None, "reading": 0, "first": 1, "middle": REQUESTED // 2, "last": REQUESTED - 5}


def config_for(model: Path) -> GenerateConfig:
    engine = {
        "model": str(model),
        "num_servers": 2,
        "concurrency": 4,
        "context_tokens": 512,
        "options": {"precision": "float32"},
    }
    rephrase = {"num_generations": EACH, "max_new_tokens": 60}
    return GenerateConfig.model_validate({"engine": engine, "rephrase": rephrase, "gates": {"empty": "accept"}})


def documents() -> list[Document]:
    return [Document(f"d{number}", f"{number} {WORDS}") for number in range(NUM_DOCUMENTS)]


def num_records(ledger: Path) -> int:
    return sum(scan_frames(path).num_frames for path in ledger.glob("records-*.log"))


def check_ledger(ledger: Path) -> None:
    """Every generation has one record, and no record is there twice."""
    index = load_index(ledger)
    assert len(index) == num_records(ledger) == REQUESTED


def wait_for(stage: str, engine: Callable[[], list[int]], ledger: Path, is_over: Callable[[], bool]) -> list[int]:
    """The engine's processes once the stage is reached; none when the run ended before."""
    wanted, deadline = STAGES[stage], time.monotonic() + 120
    while time.monotonic() < deadline and not is_over():
        pids = engine()
        if wanted is None and pids:
            return pids
        if wanted is not None and len(pids) == 3 and (not wanted or num_records(ledger) >= wanted):
            return pids
        time.sleep(0.02)
    return []


@pytest.mark.parametrize("victim", ["loader", "worker"])
@pytest.mark.parametrize("stage", [*STAGES])
def test_a_killed_engine_is_started_again(stage: str, victim: str, folder: Path, tmp_path: Path) -> None:  # noqa: F811
    config = config_for(folder)
    engine = build_engine(config.engine)
    assert isinstance(engine, EmbeddedEngine)
    killed: list[int] = []
    seen: list[int] = []

    def serving() -> list[int]:
        """Its processes; after the first stage only once it has said that it is ready."""
        return engine.process_ids if stage == "loading" or engine.precision is not None else []

    def kill() -> None:
        pids = wait_for(stage, serving, tmp_path / "l", lambda: bool(done))
        seen.extend(pids)
        if pids:
            target = pids[0] if victim == "loader" or len(pids) == 1 else pids[-1]
            os.kill(target, signal.SIGKILL)
            killed.append(target)

    done: list[Any] = []
    killer = threading.Thread(target=kill)
    killer.start()
    try:
        books = run_generation(
            config, "rephrase", documents(), tmp_path / "l", lambda _: None, lambda: False, engine=engine
        )
    except megadocs.errors.EngineError:
        assert stage == "loading"  # never served: said so at once, nothing recorded
        books = run_generation(config, "rephrase", documents(), tmp_path / "l", lambda _: None, lambda: False)
    finally:
        done.append(True)
        killer.join()
    assert killed or stage == "last"  # a fast machine may be through
    assert (books.ok, books.failed, books.pending) == (REQUESTED, 0, 0)
    check_ledger(tmp_path / "l")
    wait_gone(seen)


@pytest.mark.parametrize("stage", [*STAGES])
def test_a_killed_run_goes_on(stage: str, folder: Path, tmp_path: Path) -> None:  # noqa: F811
    code = (
        "import sys\n"
        "from pathlib import Path\n"
        "from megadocs.generate import run_generation\n"
        f"sys.path.insert(0, {str(Path(__file__).parents[3])!r})\n"
        "from tests.generate.engines.test_embedded_kills import config_for, documents\n"
        f"config = config_for(Path({str(folder)!r}))\n"
        f"ledger = Path({str(tmp_path / 'l')!r})\n"
        "run_generation(config, 'rephrase', documents(), ledger, lambda _: None, lambda: False)\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(megadocs.__file__).parents[1])}
    run = subprocess.Popen([sys.executable, "-c", code], env=environment)
    pids = wait_for(stage, lambda: descendants(run.pid), tmp_path / "l", lambda: run.poll() is not None)
    run.send_signal(signal.SIGKILL)
    run.wait()
    wait_gone([pid for pid in pids if alive(pid)])  # the engine ends with the run
    before = num_records(tmp_path / "l")
    books = run_generation(config_for(folder), "rephrase", documents(), tmp_path / "l", lambda _: None, lambda: False)
    assert (books.ok, books.failed, books.pending) == (REQUESTED, 0, 0)
    assert books.num_sent <= REQUESTED - before + 1  # a torn last record may be sent again
    check_ledger(tmp_path / "l")


def descendants(pid: int) -> list[int]:
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return []
    return [one for child in map(int, children) for one in (child, *descendants(child))]


def test_a_worker_that_hangs_is_found_by_the_watchdog(
    folder: Path,  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Stopped, not dead: no socket closes; after the silence it is pinged, and started again."""
    monkeypatch.setattr("megadocs.generate.runner.WATCHDOG_SECONDS", 2.0)
    # on a free processor all replies are there within the second between two reports of progress
    monkeypatch.setattr("megadocs.generate.runner._PROGRESS_SECONDS", 0.0)
    monkeypatch.setattr("megadocs.generate.engines.embedded._PING_SECONDS", 2.0)
    config = config_for(folder)
    engine = build_engine(config.engine)
    assert isinstance(engine, EmbeddedEngine)
    stopped: list[int] = []

    def show(progress: Any) -> None:
        if not stopped and progress.in_flight and len(engine.process_ids) == 3:
            stopped.extend(engine.process_ids)
            for pid in stopped[1:]:
                os.kill(pid, signal.SIGSTOP)

    books = run_generation(config, "rephrase", documents(), tmp_path / "l", show, lambda: False, engine=engine)
    assert stopped
    assert (books.ok, books.failed, books.pending) == (REQUESTED, 0, 0)
    check_ledger(tmp_path / "l")
    wait_gone(stopped)
