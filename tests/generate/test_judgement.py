"""No verdict outlives its reason: records are judged by the recipe that asks, not by the one that wrote them."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from megadocs.documents import Document
from megadocs.generate import Accounting, export_generations, iter_requests, load_index, plan_requests, run_generation
from megadocs.generate.judgement import iter_judged
from megadocs.generate.ledger import Ledger
from megadocs.generate.records import GenerationRecord
from megadocs.generate.status import read_accounting
from megadocs.recipe import GenerateConfig

Documents = Callable[..., list[Document]]
Config = Callable[..., GenerateConfig]

ODD = (
    "empty:0.15,truncated:0.1,filtered:0.1,preamble:0.1,control:0.1,reasoning:0.1,refusal:0.1,repetition:0.1,echo:0.1"
    ",surrogate:0.05"
)
#: None rejects at once: a reply that was paid for after one that this policy would have rejected counts all the same.
POLICIES: dict[str, dict[str, Any]] = {
    "default": {"filtered": "retry"},
    "lax": {"empty": "accept", "filtered": "accept"},
    "strict": dict.fromkeys(("truncated", "refusal", "repetition", "echo", "control_tokens", "filtered"), "retry"),
    "other thresholds": {"max_source_overlap": 0.3, "strip_preamble": False, "echo": "retry", "filtered": "retry"},
    "siblings": {"sibling": "retry", "filtered": "retry"},
}


def run(config: GenerateConfig, documents: list[Document], ledger: Path, **more: Any) -> Accounting:
    books = run_generation(config, "rephrase", documents, ledger, lambda _: None, lambda: False, **more)
    assert books.requested == books.ok + books.rejected + books.failed + books.skipped + books.pending
    return books


def export(config: GenerateConfig, documents: list[Document], ledger: Path) -> list[dict[str, Any]]:
    path = ledger.with_suffix(".parquet")
    export_generations(plan_requests(config, "rephrase", documents), ledger, path)
    return pq.read_table(path).to_pylist()


@pytest.mark.parametrize(("first", "second"), list(itertools.permutations(POLICIES, 2)))
def test_a_changed_policy_gives_what_it_would_have_given_from_the_start(
    tmp_path: Path, config: Config, documents: Documents, first: str, second: str
) -> None:
    """Whatever the order: the same texts, flags and attempts, and no reply is paid for twice."""
    before, after = (
        config(options={"odd": ODD}, gates=POLICIES[name], rephrase={"num_generations": 3, "max_new_tokens": 64})
        for name in (first, second)
    )
    run(before, documents(20), tmp_path / "changed")
    books = run(after, documents(20), tmp_path / "changed")
    fresh = run(after, documents(20), tmp_path / "fresh")
    assert export(after, documents(20), tmp_path / "changed") == export(after, documents(20), tmp_path / "fresh")
    assert books.num_sent < fresh.num_sent
    counts = ("ok", "rejected", "failed", "skipped", "pending", "new_tokens", "flags")
    for found in (books, read_accounting(after, "rephrase", documents(20), load_index(tmp_path / "changed"))):
        assert [getattr(found, name) for name in counts] == [getattr(fresh, name) for name in counts]
    assert run(before, documents(20), tmp_path / "changed").num_sent == 0  # and back: every reply is still there


def test_half_a_character_in_a_reply_is_replaced_and_kept_as_it_came(
    tmp_path: Path, config: Config, documents: Documents
) -> None:
    odd = config(options={"odd": "surrogate:1.0"})
    assert run(odd, documents(3), tmp_path / "l").flags == {"invalid_unicode": 6}
    rows = export(odd, documents(3), tmp_path / "l")
    assert all(row["text"].endswith("\ufffd") for row in rows)
    index = load_index(tmp_path / "l")
    replies = [record.reply for record in index.read(np.arange(6)) if record is not None]
    assert [reply is not None and reply[0][-1] for reply in replies] == ["\ud800"] * 6


def test_a_policy_that_rejects_applies_to_what_was_accepted(
    tmp_path: Path, config: Config, documents: Documents
) -> None:
    odd = {"odd": "echo:1.0"}
    assert run(config(options=odd), documents(7), tmp_path / "l").ok == 14
    strict = config(options=odd, gates={"echo": "reject"})
    assert read_accounting(strict, "rephrase", documents(7), load_index(tmp_path / "l")).rejected == 14
    assert all(row["status"] == "rejected" and not row["text"] for row in export(strict, documents(7), tmp_path / "l"))
    again = run(strict, documents(7), tmp_path / "l")
    assert (again.num_sent, again.rejected, again.errors) == (0, 14, {"quality": 14})


def test_a_reply_that_reasoning_used_up_is_asked_for_again(
    tmp_path: Path, config: Config, documents: Documents
) -> None:
    books = run(config(options={"odd": "empty:1.0"}), documents(4), tmp_path / "l")
    assert (books.rejected, books.num_sent) == (8, 32)
    assert run(config(), documents(4), tmp_path / "l").num_sent == 0  # rejected until asked for again
    mended = run(config(), documents(4), tmp_path / "l", reopened=frozenset({"rejected"}))
    assert (mended.ok, mended.num_sent) == (8, 8)


def test_what_is_reopened_can_be_chosen(tmp_path: Path, config: Config, documents: Documents) -> None:
    odd = config(options={"odd": "empty:0.3,filtered:0.3", "broken": 0.2}, max_attempts=1)
    books = run(odd, documents(20), tmp_path / "l")
    assert min(books.rejected, books.failed, books.flags["filtered"]) > 0
    assert run(odd, documents(20), tmp_path / "l").num_sent == 0
    for reopened in ("filtered", "bad_request", "echo", "rejected", "failed"):
        expected = {"rejected": books.rejected, "failed": books.failed, **books.flags, **books.errors}.get(reopened, 0)
        books = run(odd, documents(20), tmp_path / "l", reopened=frozenset({reopened}))
        assert books.num_sent == expected


def test_a_good_reply_counts_whatever_a_stricter_policy_says_of_those_before_it(
    tmp_path: Path, config: Config, documents: Documents
) -> None:
    odd = {"odd": "filtered:0.5"}
    books = run(config(options=odd, gates={"filtered": "retry"}), documents(20), tmp_path / "l")
    assert books.num_sent > 40
    assert read_accounting(config(options=odd), "rephrase", documents(20), load_index(tmp_path / "l")).ok == books.ok


@pytest.mark.parametrize(
    "change",
    [
        {"engine": {"options": {"transport": "memory"}}},
        {"engine": {"context_tokens": 4096}},
        {"attempt_timeout_seconds": 50},
    ],
)
def test_a_failure_stands_until_its_reason_changes(
    tmp_path: Path, config: Config, documents: Documents, change: dict[str, Any]
) -> None:
    """Reasons are where and how a request is sent; how many at once is none."""
    broken = config(options={"broken": 0.5})
    failed = run(broken, documents(10), tmp_path / "l").failed
    assert failed > 0
    same = config(options={"broken": 0.5}, engine={"concurrency": 2})
    assert run(same, documents(10), tmp_path / "l").num_sent == 0
    other = config(**{"options": {"broken": 0.5}, **change})
    assert run(other, documents(10), tmp_path / "l").num_sent == failed


def test_the_address_is_a_reason(
    tmp_path: Path, config: Config, documents: Documents, monkeypatch: pytest.MonkeyPatch
) -> None:
    def served_at(address: str | None) -> GenerateConfig:
        return config(engine={"kind": "openai", "base_url": address, "options": {}})

    wrong = served_at("http://127.0.0.1:9/nothing")
    requests = plan_requests(wrong, "rephrase", documents(1))
    with Ledger(tmp_path / "l") as ledger:
        from megadocs.generate.judgement import build_record

        for request in requests:
            ledger.append(build_record(request, "failed", attempts=1, error="bad_request", message="HTTP 404"))
    index = load_index(tmp_path / "l")

    def pending(settings: GenerateConfig) -> int:
        judged = iter_judged(iter_requests(settings, "rephrase", documents(1)), index)
        return sum(item.record is None for item in judged)

    assert pending(wrong) == 0
    assert pending(served_at("http://127.0.0.1:9/nothing/v1")) == 2
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    assert pending(served_at(None)) == 0  # a machine that knows no server asks nothing again
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/v1")
    assert pending(served_at(None)) == 2


def test_fit_is_judged_by_the_context_of_now(tmp_path: Path, config: Config, documents: Documents) -> None:
    def settings(context_tokens: int, policy: str) -> GenerateConfig:
        engine = {"context_tokens": context_tokens}
        return config(engine=engine, long_documents=policy, rephrase={"num_generations": 1, "max_new_tokens": 16})

    long = [Document(f"d{number}", "word " * 400 + str(number)) for number in range(3)]
    assert run(settings(400, "skip"), long, tmp_path / "l").skipped == 3
    assert len(load_index(tmp_path / "l")) == 0  # nothing was said, nothing is kept
    grown = run(settings(4000, "skip"), long, tmp_path / "l")
    assert (grown.ok, grown.skipped) == (3, 0)
    assert read_accounting(settings(400, "skip"), "rephrase", long, load_index(tmp_path / "l")).skipped == 3
    assert run(settings(400, "truncate"), long, tmp_path / "other").ok == 3
    assert run(settings(4000, "skip"), long, tmp_path / "l").num_sent == 0


def _version_1(record: GenerationRecord) -> bytes:
    """The record as the first version of the ledger wrote it."""
    import json

    frame = replace(record, reply=None, earlier=(), basis=0).encode()
    body = json.loads(frame[46:])
    del body["reply"], body["earlier"]
    return b"\x01" + frame[1:19] + b"\0" + frame[20:38] + json.dumps(body).encode()


def test_a_ledger_of_version_1_is_used_and_judged(tmp_path: Path, config: Config, documents: Documents) -> None:
    from megadocs.store.framed_log import FramedLog

    odd = config(options={"odd": ODD})
    run(odd, documents(20), tmp_path / "new")
    expected = export(odd, documents(20), tmp_path / "new")
    index = load_index(tmp_path / "new")
    (tmp_path / "old").mkdir()
    with FramedLog(tmp_path / "old" / "records-00000001.log") as log:
        for record in index.read(
            index.find([request.identity for request in plan_requests(odd, "rephrase", documents(20))])
        ):
            assert record is not None
            log.append(_version_1(record))
    assert run(odd, documents(20), tmp_path / "old").num_sent == 0
    assert export(odd, documents(20), tmp_path / "old") == expected
    strict = config(options={"odd": ODD}, gates={"echo": "reject"})
    rejected = [row for row in export(strict, documents(20), tmp_path / "old") if "echo" in row["flags"]]
    assert rejected
    assert {row["status"] for row in rejected} == {"rejected"}
