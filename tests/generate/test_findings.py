"""Flags found anew are remembered: the same books and texts, without reading a text twice."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from megadocs.documents import Document
from megadocs.generate import findings, iter_requests, judgement, load_index, run_generation
from megadocs.generate.accounting import Accounting
from megadocs.generate.judgement import Judge, iter_judged
from megadocs.generate.ledger import Ledger
from megadocs.generate.status import read_accounting
from megadocs.recipe import GenerateConfig

Documents = Callable[..., list[Document]]


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(findings, "MIN_KEPT", 5)


@pytest.fixture
def judged(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Sources of the replies that are judged."""
    seen: list[str] = []

    def counted(reply: Any, source: str, *rest: Any) -> Any:
        seen.append(source)
        return judge_reply(reply, source, *rest)

    judge_reply = judgement.judge_reply
    monkeypatch.setattr(judgement, "judge_reply", counted)
    return seen


def settings(**gates: Any) -> GenerateConfig:
    return GenerateConfig.model_validate(
        {
            "engine": {"kind": "fake", "model": "fake", "concurrency": 4},
            "rephrase": {"num_generations": 2, "max_new_tokens": 64},
            "gates": {"empty": "accept", **gates},
        }
    )


def texts(config: GenerateConfig, documents: list[Document], ledger: Path) -> Iterator[Any]:
    for item in iter_judged(iter_requests(config, "rephrase", documents), load_index(ledger)):
        assert item.record is not None
        yield item.record.text, item.record.status, item.record.flags, item.record.error


def books(config: GenerateConfig, documents: list[Document], ledger: Path) -> Accounting:
    return read_accounting(config, "rephrase", documents, load_index(ledger))


def write(documents: list[Document], ledger: Path) -> None:
    run_generation(settings(), "rephrase", documents, ledger, lambda _: None, lambda: False)


@pytest.mark.parametrize("changes", [{"max_source_overlap": 0.1}, {"strip_preamble": False}, {"echo": "reject"}])
def test_books_and_texts_are_those_without_a_memory(
    changes: dict[str, Any], documents: Documents, tmp_path: Path, judged: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger, corpus, other = tmp_path / "l", documents(20), settings(**changes)
    write(corpus, ledger)
    monkeypatch.setattr(findings, "MIN_KEPT", 10**9)
    expected = books(other, corpus, ledger), list(texts(other, corpus, ledger))
    monkeypatch.setattr(findings, "MIN_KEPT", 5)
    judged.clear()
    for _ in range(3):
        assert (books(other, corpus, ledger), list(texts(other, corpus, ledger))) == expected
    if "echo" in changes:
        assert judged == []  # a policy is applied to flags: no text is read
    else:
        assert len(judged) == 40  # once each, in one of six passes
    assert (books(settings(), corpus, ledger), list(ledger.glob("findings-*.npy")) == []) == (
        books(settings(), corpus, ledger),
        "echo" in changes,
    )


def test_a_run_reads_each_text_once(documents: Documents, tmp_path: Path, judged: list[str]) -> None:
    corpus, other = documents(20), settings(max_source_overlap=0.1)
    write(corpus, tmp_path)
    judged.clear()
    done = run_generation(other, "rephrase", corpus, tmp_path, lambda _: None, lambda: False)
    assert (done.ok, done.num_sent, len(judged)) == (40, 0, 40)
    list(texts(other, corpus, tmp_path))
    assert len(judged) == 40


def test_a_record_that_was_replaced_or_moved_is_judged_again(
    documents: Documents, tmp_path: Path, judged: list[str]
) -> None:
    corpus, other = documents(20), settings(max_source_overlap=0.1)
    write(corpus, tmp_path)
    books(other, corpus, tmp_path)
    index = load_index(tmp_path)
    record = next(iter(index.read(np.array([7]))))
    assert record is not None
    with Ledger(tmp_path) as ledger:
        ledger.append(record)
    judged.clear()
    books(other, corpus, tmp_path)
    assert len(judged) == 1


@pytest.mark.parametrize("content", [b"", b"junk", b"\x93NUMPY\x01\x00v\x00{}"])
def test_a_memory_that_cannot_be_read_is_made_anew(
    content: bytes, documents: Documents, tmp_path: Path, judged: list[str]
) -> None:
    corpus, other = documents(20), settings(max_source_overlap=0.1)
    write(corpus, tmp_path)
    expected = books(other, corpus, tmp_path)
    (path,) = tmp_path.glob("findings-*.npy")
    path.write_bytes(content)
    judged.clear()
    assert books(other, corpus, tmp_path) == expected
    assert len(judged) == 40
    assert np.load(path).dtype == findings._KEPT_DTYPE


def test_thresholds_tried_long_ago_are_forgotten(documents: Documents, tmp_path: Path) -> None:
    corpus = documents(20)
    write(corpus, tmp_path)
    for percent in range(10, 80, 10):
        books(settings(max_source_overlap=percent / 100), corpus, tmp_path)
    assert len(list(tmp_path.glob("findings-*.npy"))) == 3


def test_where_nothing_can_be_written_the_books_are_the_same(
    documents: Documents, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    corpus, other = documents(20), settings(max_source_overlap=0.1)
    write(corpus, tmp_path)
    expected = books(other, corpus, tmp_path)

    def fails(*_: object) -> None:
        raise OSError("read-only")

    for path in tmp_path.glob("findings-*.npy"):
        path.unlink()
    monkeypatch.setattr(findings, "write_bytes_atomic", fails)
    assert books(other, corpus, tmp_path) == expected
    assert Judge.of(other).findings != Judge.of(settings()).findings
