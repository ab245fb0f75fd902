"""Export: order, joined parts of split documents, siblings, and bytes that depend on the content alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from megadocs.documents import Document
from megadocs.errors import EngineError, InputError
from megadocs.generate import export_generations, iter_requests, plan_requests, run_generation
from megadocs.generate.ledger import Ledger
from megadocs.generate.runner import build_record
from megadocs.recipe import GenerateConfig

Documents = Callable[..., list[Document]]
Config = Callable[..., GenerateConfig]


def test_a_list_is_sorted_and_an_iterator_is_checked(tmp_path: Path, config: Config, documents: Documents) -> None:
    corpus = documents(20)  # doc-10 sorts before doc-2
    run_generation(config(), "rephrase", corpus, tmp_path / "l", lambda _: None, lambda: False)
    export_generations(plan_requests(config(), "rephrase", corpus), tmp_path / "l", tmp_path / "a.parquet")
    by_id = sorted(corpus, key=lambda document: document.id)
    export_generations(iter_requests(config(), "rephrase", by_id), tmp_path / "l", tmp_path / "b.parquet")
    assert (tmp_path / "a.parquet").read_bytes() == (tmp_path / "b.parquet").read_bytes()
    with pytest.raises(InputError, match="not in order"):
        export_generations(iter_requests(config(), "rephrase", corpus), tmp_path / "l", tmp_path / "c.parquet")


def test_a_split_document_comes_back_as_one_text(tmp_path: Path, config: Config) -> None:
    paragraphs = [" ".join(f"p{number}w{word}" for word in range(60)) for number in range(4)]
    document = Document("long", "\n\n".join(paragraphs))
    long = config(long_documents="split", engine={"context_tokens": 280})
    requests = plan_requests(long, "rephrase", [document])
    assert {request.num_parts for request in requests} == {max(r.part for r in requests) + 1}
    assert requests[0].num_parts > 1
    assert "".join(r.source for r in requests if r.generation == 0) == document.text  # no character lost, none twice
    run_generation(long, "rephrase", [document], tmp_path / "l", lambda _: None, lambda: False)
    counts = export_generations(requests, tmp_path / "l", tmp_path / "a.parquet")
    rows = pq.read_table(tmp_path / "a.parquet").to_pylist()
    assert (counts["requested"], counts["exported"], len(rows)) == (len(requests), 2, 2)
    assert all(
        row["flags"] == ["source_split"] and row["text"].count("\n\n") == requests[0].num_parts - 1 for row in rows
    )


def test_one_bad_part_spoils_its_generation_only(tmp_path: Path, config: Config) -> None:
    document = Document("long", "\n\n".join(" ".join(f"p{n}w{word}" for word in range(60)) for n in range(4)))
    requests = plan_requests(config(long_documents="split", engine={"context_tokens": 280}), "rephrase", [document])
    with Ledger(tmp_path / "l") as ledger:
        for request in requests:
            if request.generation == 0:
                status = "failed" if request.part == 1 else "ok"
                ledger.append(replace(build_record(request, status), text=f"text {request.part}"))  # type: ignore[arg-type]
            elif request.part == 0:
                ledger.append(replace(build_record(request, "ok"), text="text"))
    counts = export_generations(requests, tmp_path / "l", tmp_path / "a.parquet")
    (row,) = pq.read_table(tmp_path / "a.parquet").to_pylist()
    assert (row["generation"], row["status"], row["text"]) == (0, "failed", "")
    assert counts["pending"] == requests[0].num_parts - 1


def test_siblings_are_judged_in_generation_order(tmp_path: Path, config: Config, documents: Documents) -> None:
    four = config(rephrase={"num_generations": 4, "max_new_tokens": 64})
    requests = plan_requests(four, "rephrase", documents(1))
    text = " ".join(f"word{number}" for number in range(40))
    texts = [text, "another text altogether, with words of its own that nobody shares", text, text + " and a tail"]
    with Ledger(tmp_path / "l") as ledger:
        for request in reversed(requests):
            ledger.append(replace(build_record(request, "ok"), text=texts[request.generation]))
    counts = export_generations(requests, tmp_path / "l", tmp_path / "a.parquet")
    flags = [row["flags"] for row in pq.read_table(tmp_path / "a.parquet").to_pylist()]
    assert flags == [[], [], ["identical", "sibling"], ["sibling"]]
    assert counts["identical"] == 1


def test_a_server_that_ignores_the_seed_is_found(tmp_path: Path, config: Config, documents: Documents) -> None:
    requests = plan_requests(config(), "rephrase", documents(10))
    with Ledger(tmp_path / "l") as ledger:
        for request in requests:
            ledger.append(replace(build_record(request, "ok"), text=f"the same for {request.document_id}"))
    with pytest.raises(EngineError, match="all generations of 10 of 10 documents are identical"):
        export_generations(requests, tmp_path / "l", tmp_path / "a.parquet")
    assert list(tmp_path.glob("*.parquet*")) == []
    assert list(tmp_path.glob(".*.tmp")) == []
