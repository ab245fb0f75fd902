"""The note that a run keeps for others, and the words of the progress line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from megadocs.cli.console import progress_text
from megadocs.documents import Document
from megadocs.generate import GenerationProgress, run_generation
from megadocs.generate.progress import progress_event, progress_note, read_progress, write_progress
from megadocs.recipe import GenerateConfig

Documents = Callable[..., list[Document]]
Config = Callable[..., GenerateConfig]


def test_a_run_tells_how_far_it_is(tmp_path: Path, config: Config, documents: Documents) -> None:
    prices = {"price_per_million_new_tokens": 100.0, "price_per_server_hour": 360_000.0}
    settings = config(options={"latency_seconds": 0.02, "broken": 0.1}, limits=prices)
    seen: list[GenerationProgress] = []
    while_running = []

    def progress(state: GenerationProgress) -> None:
        seen.append(state)
        while_running.append(read_progress(tmp_path))

    books = run_generation(settings, "rephrase", documents(150), tmp_path, progress, lambda: False)
    middle, end = seen[-2], seen[-1]
    assert 0 < middle.done < end.done == end.requested == 300
    assert middle.tokens_per_second > 0
    assert middle.seconds_left is not None
    assert 0.3 < middle.cached_share < 0.7  # the fake engine says one half
    assert end.errors == {"bad_request": end.failed} == books.errors
    assert books.cost == pytest.approx(100 * books.spent_new_tokens / 1e6 + 100 * books.seconds, rel=0.2)
    noted = while_running[-2]
    assert noted is not None
    assert noted.is_running
    assert noted.progress == middle
    last = read_progress(tmp_path)
    assert last is not None
    assert not last.is_running
    assert (last.progress.state, last.progress.done) == ("finished", 300)


def test_the_progress_line() -> None:
    state = GenerationProgress(
        task="rephrase",
        requested=440,
        done=120,
        ok=115,
        rejected=1,
        failed=3,
        skipped=1,
        errors={"malformed": 1, "quality": 1, "timeout": 2, "too_long": 1},
        num_documents=55,
        in_flight=4,
        tokens_per_second=58.2,
        seconds_left=130.0,
        cached_share=0.41,
        occupancy=0.93,
        server_hours=0.5,
        cost=1.25,
        state="running",
    )
    assert progress_text(progress_event(state)) == (
        "120/440 generations, 55 documents, 1 rejected, 3 failed, 1 skipped (malformed 1, timeout 2, too_long 1), "
        "41% of prompt tokens cached, batch 93% full, 0.50 server hours, cost 1.25, 58 tokens/s, 2 min 10 s left"
    )


def test_a_note_that_cannot_be_read_or_written_is_none(tmp_path: Path, config: Config, documents: Documents) -> None:
    seen: list[GenerationProgress] = []
    run_generation(config(), "rephrase", documents(1), tmp_path, seen.append, lambda: False)
    assert progress_note(seen[-1]).startswith("1 documents, ")
    assert read_progress(tmp_path / "nothing") is None
    write_progress(tmp_path / "nothing", seen[-1])  # no such folder: nothing happens
    for damaged in ("", "{", "[]", '{"task": "rephrase"}'):
        (tmp_path / "progress.json").write_text(damaged)
        assert read_progress(tmp_path) is None
