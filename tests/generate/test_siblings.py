"""The gate `sibling`: policies, and verdicts that do not depend on concurrency, kills or growth."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import pyarrow.parquet as pq
import pytest

from megadocs.documents import Document
from megadocs.generate import Accounting, export_generations, plan_requests, run_generation
from megadocs.generate.engines.fake import InProcessFakeEngine
from megadocs.generate.engines.protocol import Completion, EngineFailure, Reply
from megadocs.generate.near_copies import Comparable
from megadocs.recipe import GenerateConfig

Documents = Callable[..., list[Document]]
Config = Callable[..., GenerateConfig]


class ForgetfulEngine(InProcessFakeEngine):
    """Writes one of three texts a document, by the seed: siblings are often alike. Latencies are random."""

    async def complete(self, completion: Completion) -> Reply | EngineFailure:
        import asyncio

        await asyncio.sleep(random.random() * 0.004)
        reply = await super().complete(completion)
        assert isinstance(reply, Reply)
        choice = completion.seed % 3
        document = completion.messages[-1]["content"]
        words = [f"w{choice}{len(document)}{number}" for number in range(40)]
        words[completion.seed % 40] = "changed"  # a near copy, not an equal one
        return Reply(" ".join(words), "stop", reply.prompt_tokens, 40)


def run(config: GenerateConfig, documents: list[Document], ledger: Path, *, stop_after: int = 10**9) -> Accounting:
    polls = 0

    def should_stop() -> bool:
        nonlocal polls
        polls += 1
        return polls > stop_after

    engine = ForgetfulEngine(config.engine)
    return run_generation(config, "rephrase", documents, ledger, lambda _: None, should_stop, engine=engine)


def export(config: GenerateConfig, documents: list[Document], ledger: Path, path: Path) -> bytes:
    export_generations(plan_requests(config, "rephrase", documents), ledger, path)
    return path.read_bytes()


def make(config: Config, policy: Literal["accept", "retry", "reject"], generations: int = 6, **more: Any) -> Any:
    rephrase = {"num_generations": generations, "max_new_tokens": 64}
    return config(rephrase=rephrase, gates={"sibling": policy}, max_attempts=3, **more)


@pytest.mark.parametrize("policy", ["retry", "reject"])
def test_accepted_generations_differ(tmp_path: Path, config: Config, documents: Documents, policy: Any) -> None:
    books = run(make(config, policy), documents(8), tmp_path / "l")
    assert books.is_complete
    assert books.flags["sibling"] == books.rejected > 0
    assert books.errors == {"quality": books.rejected}
    assert (books.num_sent > books.requested) == (policy == "retry")
    export(make(config, policy), documents(8), tmp_path / "l", tmp_path / "e.parquet")
    rows = pq.read_table(tmp_path / "e.parquet").to_pylist()
    for document in documents(8):
        texts = [Comparable.of(r["text"]) for r in rows if r["document_id"] == document.id and r["status"] == "ok"]
        assert 1 <= len(texts) <= 3  # there are three to be had
        assert not any(a.is_near_copy(b) for i, a in enumerate(texts) for b in texts[:i])


def test_retrying_accepts_more_than_rejecting(tmp_path: Path, config: Config, documents: Documents) -> None:
    accepted = {
        policy: run(make(config, policy, 3), documents(20), tmp_path / policy).ok  # type: ignore[arg-type]
        for policy in ("accept", "retry", "reject")
    }
    assert accepted["reject"] < accepted["retry"] <= accepted["accept"] == 60


@pytest.mark.parametrize("policy", ["retry", "reject"])
def test_the_verdicts_are_the_same_however_the_run_goes(
    tmp_path: Path, config: Config, documents: Documents, policy: Any
) -> None:
    wanted = make(config, policy)
    expected = None
    for number, concurrency in enumerate((1, 3, 16)):
        settings = make(config, policy, engine={"concurrency": concurrency})
        run(settings, documents(10), tmp_path / str(number))
        found = export(wanted, documents(10), tmp_path / str(number), tmp_path / f"{number}.parquet")
        assert expected is None or found == expected
        expected = found
    broken = tmp_path / "broken"
    run(make(config, policy, 2), documents(10), broken)  # grown from two generations
    for _ in range(20):  # and interrupted again and again
        books = run(make(config, policy, limits={"max_requests": 5}), documents(10), broken)
        if books.is_complete:
            break
    assert run(wanted, documents(10), broken).is_complete
    assert export(wanted, documents(10), broken, tmp_path / "broken.parquet") == expected
