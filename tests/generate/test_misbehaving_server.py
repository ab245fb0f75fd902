"""Runs against servers that misbehave in one way each: what is kept, what is said, and books that balance."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from megadocs.documents import Document
from megadocs.errors import EngineError
from megadocs.generate import Accounting, GenerationProgress, export_generations, plan_requests, run_generation, trouble
from megadocs.generate import retry as retry_layer
from megadocs.generate.engines import openai
from megadocs.generate.judgement import iter_judged
from megadocs.generate.ledger import load_index
from megadocs.generate.progress import progress_note
from megadocs.generate.records import GenerationRecord
from megadocs.generate.status import count_reasons
from megadocs.recipe import GenerateConfig

from .conftest import make_documents
from .misbehaving_server import (
    DOUBTFUL,
    MODEL_LISTS,
    REFUSES,
    REFUSES_ONE,
    SERVES,
    Behaviour,
    Misbehaving,
    error,
    good,
    without,
)

NUM_DOCUMENTS = 12


@contextmanager
def serving(behaviour: Behaviour, **more: Any) -> Iterator[Misbehaving]:
    """The server in a thread with an event loop of its own."""
    server = Misbehaving(behaviour, **more)
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    try:
        asyncio.run_coroutine_threadsafe(server.__aenter__(), loop).result(10)
        yield server
    finally:
        asyncio.run_coroutine_threadsafe(server.__aexit__(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retry_layer, "BASE_SECONDS", 0.01)
    monkeypatch.setattr(retry_layer, "MAX_SECONDS", 0.1)


def make_config(server: Misbehaving, **changes: Any) -> GenerateConfig:
    engine = {"kind": "openai", "model": "the-model", "base_url": server.address, "concurrency": 4}
    engine |= changes.pop("engine", {})
    data = {"engine": engine, "rephrase": {"num_generations": 1, "max_new_tokens": 64}, "attempt_timeout_seconds": 5}
    return GenerateConfig.model_validate(data | changes)


def run(config: GenerateConfig, ledger: Path, documents: list[Document] | None = None, **more: Any) -> Accounting:
    texts = documents if documents is not None else make_documents(NUM_DOCUMENTS)
    progress: Callable[[GenerationProgress], None] = more.pop("progress", lambda _: None)
    books = run_generation(config, "rephrase", texts, ledger, progress, more.pop("should_stop", lambda: False), **more)
    assert books.requested == books.ok + books.rejected + books.failed + books.skipped + books.pending
    return books


def records(config: GenerateConfig, ledger: Path) -> list[GenerationRecord]:
    requests = plan_requests(config, "rephrase", make_documents(NUM_DOCUMENTS))
    judged = [item.record for item in iter_judged(requests, load_index(ledger))]
    return [record for record in judged if record is not None]


@pytest.mark.parametrize("name", SERVES)
def test_servers_that_serve_after_all(name: str, tmp_path: Path) -> None:
    with serving(SERVES[name]) as server:
        config = make_config(server)
        books = run(config, tmp_path)
        assert (books.ok, books.failed, books.pending) == (NUM_DOCUMENTS, 0, 0)
        assert run(config, tmp_path).num_sent == 0
    for record in records(config, tmp_path):
        assert record.text.startswith("A rewritten passage")
        assert "PLAN" not in record.text
        assert record.finish_reason == "stop"
        assert record.prompt_tokens > 0
        assert record.new_tokens > 0


@pytest.mark.parametrize("name", REFUSES)
def test_servers_that_refuse_everything_stop_the_run(name: str, tmp_path: Path) -> None:
    behaviour, words = REFUSES[name]
    with serving(behaviour) as server:
        config = make_config(server)
        began = time.monotonic()
        with pytest.raises(EngineError) as caught:
            run(config, tmp_path)
        assert words in str(caught.value)
        assert server.address in str(caught.value)
        assert caught.value.remedy
        assert server.num_posts <= 20
        assert time.monotonic() - began < 20
    left = records(config, tmp_path)
    assert all(record.status == "ok" for record in left)  # replies are kept, and nothing is failed for it
    with serving(SERVES["plain"]) as mended:
        books = run(make_config(mended), tmp_path)
        assert books.ok == NUM_DOCUMENTS
        assert books.num_sent == NUM_DOCUMENTS - len(left)


@pytest.mark.parametrize("name", REFUSES)
def test_a_single_document_is_enough(name: str, tmp_path: Path) -> None:
    behaviour, words = REFUSES[name]
    if name in ("no money later", "another model"):
        return  # these serve the first one
    with serving(behaviour) as server:
        with pytest.raises(EngineError) as caught:
            run(make_config(server), tmp_path, make_documents(1))
        assert words in str(caught.value)


@pytest.mark.parametrize("name", REFUSES_ONE)
def test_a_refusal_of_one_document_costs_that_document(name: str, tmp_path: Path) -> None:
    behaviour, kind = REFUSES_ONE[name]
    with serving(behaviour) as server:
        config = make_config(server)
        books = run(config, tmp_path)
        assert (books.ok, books.failed) == (NUM_DOCUMENTS - 1, 1)
        assert books.errors == {kind: 1}
        assert run(config, tmp_path).num_sent == 0
    (failed,) = [record for record in records(config, tmp_path) if record.status == "failed"]
    assert failed.message is not None
    assert failed.message.startswith("HTTP 4")
    assert count_reasons(load_index(tmp_path)) == {f"{kind}: {failed.message}": 1}


@pytest.mark.parametrize("name", DOUBTFUL)
def test_doubtful_replies(name: str, tmp_path: Path) -> None:
    behaviour, flag = DOUBTFUL[name]
    with serving(behaviour) as server:
        config = make_config(server, gates={"echo": "reject"}, max_attempts=2)
        books = run(config, tmp_path)
        assert (books.ok, books.rejected) == (0, NUM_DOCUMENTS)
        assert books.flags[flag] == NUM_DOCUMENTS
    assert all("PLAN" not in record.text for record in records(config, tmp_path))


@pytest.mark.parametrize("name", MODEL_LISTS)
def test_a_list_of_models_says_nothing_about_completions(name: str, tmp_path: Path) -> None:
    behaviour = SERVES["loading"]  # opens the breaker, too
    with serving(behaviour, models=MODEL_LISTS[name]) as server:
        assert run(make_config(server), tmp_path).ok == NUM_DOCUMENTS


def test_a_slow_list_of_models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openai, "_START_TIMEOUT_SECONDS", 0.2)
    monkeypatch.setattr(openai, "_HEALTH_TIMEOUT_SECONDS", 0.2)
    with serving(SERVES["loading"]) as server:
        server.models_seconds = 0.6
        assert run(make_config(server), tmp_path).ok == NUM_DOCUMENTS


@pytest.mark.parametrize("name", ["no usage", "null usage", "usage as floats", "plain"])
@pytest.mark.parametrize("limit", [{"max_tokens": 150}, {"max_cost": 1e-3, "price_per_million_new_tokens": 30.0}])
def test_ceilings_bind_whatever_the_server_counts(name: str, limit: dict[str, Any], tmp_path: Path) -> None:
    with serving(SERVES[name]) as server:
        config = make_config(server, limits=limit, engine={"concurrency": 1})
        moments: list[GenerationProgress] = []
        books = run(config, tmp_path, make_documents(40), progress=moments.append)
        assert (moments[-1].num_counted_here > 0) == (name in ("no usage", "null usage"))  # and it is said
        assert ("counted here" in progress_note(moments[-1])) == (name in ("no usage", "null usage"))
        assert books.stopped == next(iter(limit))
        assert 0 < server.num_posts < 10
        assert books.spent_new_tokens > 0
        assert books.pending == 40 - books.ok


def test_the_other_limit_field_is_learnt_once(tmp_path: Path) -> None:
    with serving(SERVES["other limit field"]) as server:
        run(make_config(server, engine={"concurrency": 1}), tmp_path)
        assert sum("max_tokens" in body for body in server.bodies) == 1
        assert server.bodies[-1]["max_completion_tokens"] == 64


def test_nested_options_reach_the_server(tmp_path: Path) -> None:
    options = {"chat_template_kwargs": {"enable_thinking": False}, "stop": ["\n\n\n"]}
    with serving(SERVES["plain"]) as server:
        run(make_config(server, engine={"options": options}), tmp_path)
        assert all(body.items() >= options.items() for body in server.bodies)


def test_a_server_that_names_itself_later_is_no_other_model(tmp_path: Path) -> None:
    with serving(lambda body, number: good(body) if number > 6 else without(body, "model")) as server:
        assert run(make_config(server), tmp_path).ok == NUM_DOCUMENTS


def test_errors_for_ever_stop_although_the_probe_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trouble, "SICK_SECONDS", 1.5)
    notes: list[str] = []
    with serving(lambda body, _: error(500, "CPU Generator does not use offset")) as server:
        with pytest.raises(EngineError, match=r"served no request for \d+ s: HTTP 500: CPU Generator"):
            run(make_config(server), tmp_path, progress=lambda moment: notes.append(moment.reason))
    assert any("CPU Generator" in note for note in notes)  # seen while it waits
    assert records(make_config(server), tmp_path) == []


def test_a_limited_rate_shows_its_reason_and_waits(tmp_path: Path) -> None:
    """429 without a word of quotas is weather: the run waits, and says for what."""
    notes: list[GenerationProgress] = []
    began = time.monotonic()
    with serving(lambda body, _: error(429, "slow down", code="rate_limit_exceeded")) as server:
        stop = lambda: time.monotonic() - began > 3  # noqa: E731
        books = run(make_config(server), tmp_path, progress=notes.append, should_stop=stop)
    assert books.stopped == "interrupted"
    assert any("rate_limit_exceeded: slow down" in note.reason for note in notes)


def test_failures_of_several_kinds_are_their_requests_own(tmp_path: Path) -> None:
    with serving(lambda body, number: error(400, "odd", code="a" if number % 2 else "b")) as server:
        books = run(make_config(server), tmp_path)
    assert books.errors == {"bad_request": NUM_DOCUMENTS}


def test_reasons_are_exported(tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    with serving(REFUSES_ONE["filtered 403"][0]) as server:
        config = make_config(server)
        run(config, tmp_path / "l")
    requests = plan_requests(config, "rephrase", make_documents(NUM_DOCUMENTS))
    export_generations(requests, tmp_path / "l", tmp_path / "e.parquet", with_reasons=True)
    reasons = [row["reason"] for row in pq.read_table(tmp_path / "e.parquet").to_pylist()]
    assert sorted(filter(None, reasons)) == ["HTTP 403 content_filter: no"]
