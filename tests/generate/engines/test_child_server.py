"""A server of the engine's own that starts slowly, dies, dies again, or is killed by one document."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from megadocs.documents import Document
from megadocs.errors import EngineError
from megadocs.generate import Accounting, GenerationProgress, retry, run_generation
from megadocs.generate.concurrency import AdaptiveLimit
from megadocs.generate.engines.child_server import ChildProcess
from megadocs.generate.engines.protocol import EngineFailure
from megadocs.recipe import EngineConfig, GenerateConfig

from ..conftest import make_documents
from .test_contract import write_command


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retry, "BASE_SECONDS", 0.01)
    monkeypatch.setattr(retry, "MAX_SECONDS", 0.1)


def run(
    tmp_path: Path,
    options: dict[str, Any],
    documents: list[Document] | None = None,
    progress: Callable[[GenerationProgress], None] = lambda _: None,
    concurrency: int = 4,
) -> Accounting:
    pids = {"pids": str(tmp_path / "pids")}
    engine = {"kind": "vllm", "model": "m", "concurrency": concurrency, "options": {**pids, **options}}
    config = GenerateConfig.model_validate(
        {
            "engine": {**engine, "command": [str(write_command(tmp_path))]},
            "rephrase": {"num_generations": 1, "max_new_tokens": 64},
        }
    )
    texts = documents or make_documents(20)
    return run_generation(
        config, "rephrase", texts, tmp_path / "ledger", progress, lambda: False, log_dir=tmp_path / "logs"
    )


def num_starts(tmp_path: Path) -> int:
    return len((tmp_path / "pids").read_text().split())


def log(tmp_path: Path) -> str:
    (path,) = (tmp_path / "logs").iterdir()
    return path.read_text()


def test_one_that_dies_under_the_first_requests_stops_the_run(tmp_path: Path) -> None:
    notes: list[GenerationProgress] = []
    with pytest.raises(EngineError) as caught:
        run(tmp_path, {"dies_after": 0}, progress=notes.append)
    message = str(caught.value)
    assert "died 3 times without one reply between" in message
    assert "CPU Generator does not use offset" in message  # its last words
    assert str(tmp_path / "logs") in message
    assert num_starts(tmp_path) == 3
    assert log(tmp_path).count("CPU Generator") == log(tmp_path).count("INFO: serving") == 3  # both of its outputs
    assert notes[-1].failed == 0
    assert "CPU Generator" in notes[-1].reason


def test_one_that_dies_between_replies_is_started_again(tmp_path: Path) -> None:
    books = run(tmp_path, {"dies_after": 7})
    assert (books.ok, books.failed) == (20, 0)
    assert num_starts(tmp_path) >= 3


def test_a_document_that_kills_it_fails_alone(tmp_path: Path) -> None:
    texts = [*make_documents(12), Document("bad", "poison " * 20)]
    books = run(tmp_path, {"poison": "poison"}, texts)
    assert (books.ok, books.failed, books.errors) == (12, 1, {"connection": 1})


def test_a_slow_start_is_shown(tmp_path: Path) -> None:
    notes: list[GenerationProgress] = []
    run(tmp_path, {"slow_start": 2.5}, make_documents(2), notes.append)
    starting = [note.reason for note in notes if note.state == "starting the engine"]
    assert starting[:2] == ["1 s", "2 s"]


def test_one_that_never_starts_says_why(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="no such model on this planet"):
        run(tmp_path, {"fail": True}, make_documents(2))


class Mute(ChildProcess):
    """A process that says its words (none, the second time) and ends."""

    words: Sequence[str] = ("first words", "")

    async def start(self) -> None:
        said, *self.words = self.words
        await self.spawn(["-c", f"import sys; print({said!r}, end='', file=sys.stderr)"])

    async def answers(self) -> bool:
        return False

    async def close(self) -> None:
        await self.end()


@pytest.mark.parametrize("keeps_log", [True, False])
def test_last_words_are_those_of_this_start(tmp_path: Path, keeps_log: bool) -> None:
    async def main() -> list[str]:
        child = Mute(EngineConfig(kind="vllm", model="m"), log_dir=tmp_path if keeps_log else None)
        said = []
        for _ in range(2):
            await child.start()
            assert child.process is not None
            death = await child.with_death(EngineFailure("connection", "lost"), child.process)
            said.append(death.message)
            await child.close()
        return said

    first, second = asyncio.run(main())
    assert "first words" in first
    assert second == "the server ended with code 0"


def test_after_a_death_one_request_at_a_time() -> None:
    async def main() -> None:
        limit = AdaptiveLimit(8)
        limit.report_death()
        assert limit.limit == 1
        for _ in range(40):
            limit.report_reply()
        assert limit.limit == 8

    asyncio.run(main())
