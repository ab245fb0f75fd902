"""Runs against the fake engine: books that balance, resuming, growing G, faults, stopping."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from megadocs.documents import Document
from megadocs.errors import EngineError, UsageError
from megadocs.generate import (
    Accounting,
    GenerationProgress,
    export_generations,
    load_index,
    plan_requests,
    run_generation,
)
from megadocs.generate.engines.fake import FakeEngine
from megadocs.recipe import GenerateConfig

Documents = Callable[..., list[Document]]
Config = Callable[..., GenerateConfig]


def run(
    config: GenerateConfig, documents: list[Document], ledger: Path, task: str = "rephrase", **more: object
) -> Accounting:
    books = run_generation(config, task, documents, ledger, lambda _: None, lambda: False, **more)  # type: ignore[arg-type]
    assert books.requested == books.ok + books.rejected + books.failed + books.skipped + books.pending
    return books


def export(
    config: GenerateConfig, documents: list[Document], ledger: Path, path: Path, task: str = "rephrase"
) -> bytes:
    export_generations(plan_requests(config, task, documents), ledger, path)  # type: ignore[arg-type]
    return path.read_bytes()


def test_a_run_and_its_repetition(tmp_path: Path, config: Config, documents: Documents) -> None:
    books = run(config(), documents(10), tmp_path / "l")
    assert (books.requested, books.ok, books.num_sent, books.stopped) == (20, 20, 20, None)
    assert books.new_tokens == books.spent_new_tokens > 0
    again = run(config(), documents(10), tmp_path / "l")
    assert (again.ok, again.num_sent, again.new_tokens) == (20, 0, books.new_tokens)


def test_growing_adds_only_what_is_missing(tmp_path: Path, config: Config, documents: Documents) -> None:
    run(config(), documents(5), tmp_path / "grown")
    four = config(rephrase={"num_generations": 4, "max_new_tokens": 64})
    assert run(four, documents(8), tmp_path / "grown").num_sent == 4 * 8 - 2 * 5
    run(four, documents(8)[::-1], tmp_path / "scratch")
    exports = [
        export(four, documents(8), tmp_path / name, tmp_path / f"{name}.parquet") for name in ("grown", "scratch")
    ]
    assert exports[0] == exports[1]


def test_export_is_sorted_and_complete(tmp_path: Path, config: Config, documents: Documents) -> None:
    run(config(), documents(12), tmp_path / "l", "thought")
    export(config(), documents(12), tmp_path / "l", tmp_path / "t.parquet", "thought")
    rows = pq.read_table(tmp_path / "t.parquet").to_pylist()
    keys = [(row["document_id"], row["generation"]) for row in rows]
    assert keys == sorted(keys)
    assert len(set(keys)) == 36
    assert all(row["status"] == "ok" and row["text"] and row["split_character"] > 0 for row in rows)
    assert all(row["attempts"] == 1 and row["num_generations"] == 3 for row in rows)


def test_faults_over_http_cost_retries_but_no_record(tmp_path: Path, config: Config, documents: Documents) -> None:
    faults = "429:0.1,429_after:0.1,500:0.1,503:0.1,reset:0.1,html:0.1,truncated:0.1,no_choices:0.1"
    calm = config(options={"transport": "http"})
    rough = config(options={"transport": "http", "faults": faults}, engine={"concurrency": 8})
    run(calm, documents(15), tmp_path / "calm")
    books = run(rough, documents(15), tmp_path / "rough")
    assert books.ok == 30
    assert 40 < books.num_sent <= 60
    exports = [export(calm, documents(15), tmp_path / name, tmp_path / f"{name}.parquet") for name in ("calm", "rough")]
    assert exports[0] == exports[1]  # faults change neither seeds nor attempts


def test_some_requests_always_fail(tmp_path: Path, config: Config, documents: Documents) -> None:
    broken = config(options={"broken": 0.1})
    books = run(broken, documents(50), tmp_path / "l")
    assert 0 < books.failed < 30
    assert books.errors == {"bad_request": books.failed}
    assert run(broken, documents(50), tmp_path / "l").num_sent == 0  # a failure is final until asked for again
    healed = run(config(), documents(50), tmp_path / "l", reopened=frozenset({"failed"}))
    assert (healed.ok, healed.failed, healed.num_sent) == (100, 0, books.failed)
    assert load_index(tmp_path / "l").num_superseded == books.failed


def test_doubtful_replies_are_flagged_retried_or_rejected(tmp_path: Path, config: Config, documents: Documents) -> None:
    odd = {
        "odd": "empty:0.1,truncated:0.1,filtered:0.05,preamble:0.1,control:0.1,reasoning:0.1,refusal:0.1,repetition:0.1"
    }
    books = run(config(options=odd), documents(60), tmp_path / "l")
    assert books.failed == 0
    expected = {"truncated", "filtered", "preamble", "control_tokens", "reasoning", "refusal", "repetition"}
    assert set(books.flags) == expected | {"empty"}  # a filtered reply is empty, too
    assert books.rejected == books.flags["filtered"]
    assert books.num_sent > 120  # the empty ones were tried again
    export(config(options=odd), documents(60), tmp_path / "l", tmp_path / "e.parquet")
    for row in pq.read_table(tmp_path / "e.parquet").to_pylist():
        assert bool(row["text"]) == (row["status"] == "ok")
        assert "<|im_end|>" not in row["text"]
        assert "<think>" not in row["text"]
        assert not row["text"].startswith("Here is")


def test_stopping_keeps_what_is_in_flight(tmp_path: Path, config: Config, documents: Documents) -> None:
    slow = config(options={"latency_seconds": 0.05})
    seen: list[GenerationProgress] = []
    polls = iter([False] * 4 + [True] * 1000)
    books = run_generation(slow, "rephrase", documents(100), tmp_path / "l", seen.append, lambda: next(polls))
    assert books.stopped == "interrupted"
    assert 0 < books.ok == books.num_sent < 200
    assert books.pending == 200 - books.ok
    rest = run(slow, documents(100), tmp_path / "l")
    assert rest.num_sent == books.pending
    assert seen[-1].state == "stopped"


def test_ceilings_stop_in_good_order(tmp_path: Path, config: Config, documents: Documents) -> None:
    books = run(config(limits={"max_requests": 7}), documents(10), tmp_path / "l")
    assert (books.num_sent, books.ok, books.pending, books.stopped) == (7, 7, 13, "max_requests")
    books = run(config(limits={"max_tokens": 300}), documents(10), tmp_path / "l")
    assert books.stopped == "max_tokens"
    limits = {"max_cost": 0.001, "price_per_million_new_tokens": 10.0}
    books = run(config(limits=limits), documents(200), tmp_path / "l")
    assert books.stopped == "max_cost"
    assert 0.001 <= books.cost < 0.004
    assert run(config(), documents(10), tmp_path / "l").is_complete


def test_another_model_stops_the_run(tmp_path: Path, config: Config, documents: Documents) -> None:
    with pytest.raises(EngineError, match="answers as"):
        run(config(options={"transport": "http", "model_after": 10}), documents(20), tmp_path / "l")
    assert len(load_index(tmp_path / "l")) >= 9


def test_another_model_in_the_next_run_is_noticed(tmp_path: Path, config: Config, documents: Documents) -> None:
    old = config(options={"transport": "http"})
    run(old, documents(3), tmp_path / "l")

    class Renamed(FakeEngine):
        """Configured as before, served by something else."""

        def __init__(self) -> None:
            super().__init__(old.engine)
            self.server.model = "impostor"

    with pytest.raises(EngineError, match="'impostor'; this ledger's records are from 'fake-1'"):
        run(old, documents(6), tmp_path / "l", engine=Renamed())
    assert len(load_index(tmp_path / "l")) == 6
    new = config(options={"transport": "http"}, engine={"revision": "2"})
    assert run(new, documents(6), tmp_path / "l", engine=None).ok == 12


def test_private_text_leaves_the_machine_only_with_consent(
    tmp_path: Path, config: Config, documents: Documents
) -> None:
    remote = config(engine={"kind": "openai", "base_url": "http://192.0.2.1:9/v1", "options": {}})
    with pytest.raises(UsageError, match=r"12 documents would be sent to http://192.0.2.1:9/v1"):
        run(remote, documents(12), tmp_path / "l")


def test_strange_documents_go_through_unharmed(tmp_path: Path, config: Config) -> None:
    texts = [
        "nul \x00 here",
        "line\u2028separator\u2029 and\x85",
        "\ufeffbom",
        "cr\r\nlf\rcr",
        "\U0001f600 emoji",
        "<|im_end|> [/INST]",
    ]
    strange = [Document(text, text + " words" * 20) for text in texts] + [
        Document("", "an empty id is an id"),
        Document("7", "7"),
    ]
    http = config(options={"transport": "http"})
    books = run(http, strange, tmp_path / "l")
    assert books.ok == 2 * len(strange)
    export(http, strange, tmp_path / "l", tmp_path / "e.parquet")
    exported = {row["document_id"] for row in pq.read_table(tmp_path / "e.parquet").to_pylist()}
    assert exported == {document.id for document in strange}
    assert run(http, strange[::-1], tmp_path / "l").num_sent == 0
