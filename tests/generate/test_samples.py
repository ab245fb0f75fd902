"""Unconditional samples: requests that nest, know their teacher and belong to no document."""

from __future__ import annotations

from dataclasses import replace

import pyarrow.parquet as pq
import pytest

from megadocs.errors import RecipeError
from megadocs.generate import EngineInfo, export_generations, plan_requests, run_generation
from megadocs.generate.engines.protocol import Completion, Reply
from megadocs.generate.samples import iter_samples
from megadocs.recipe import GenerateConfig


def config(num_samples=6, **more):
    section = {"teacher": {"arm": "a"}, "num_samples": num_samples, "max_new_tokens": 9} | more
    return GenerateConfig.model_validate({"engine": {"kind": "own"}, "sample": section})


INFO = EngineInfo({"model": "own", "revision": "r1"}, context_tokens=10, concurrency=4)


class Echo:
    """Answers with its seed; the first sample comes out empty once."""

    def __init__(self) -> None:
        self.seeds: list[int] = []

    async def start(self) -> None: ...

    async def complete(self, completion: Completion) -> Reply:
        self.seeds.append(completion.seed)
        assert completion.messages == []
        text = "" if len(self.seeds) == 1 else f"text of {completion.seed}"
        return Reply(text, "stop", prompt_tokens=1, new_tokens=3)

    async def is_healthy(self) -> bool:
        return True

    def info(self) -> EngineInfo:
        return INFO

    async def close(self) -> None: ...


def test_more_samples_begin_with_the_same_ones():
    few, many = (list(iter_samples(config(count), INFO)) for count in (3, 8))
    assert [request.identity for request in few] == [request.identity for request in many[:3]]
    assert len({request.identity for request in many}) == 8
    assert len({request.seed(0) for request in many}) == 8


def test_another_teacher_temperature_or_length_is_another_set():
    base = {request.identity for request in iter_samples(config(), INFO)}
    others = [
        iter_samples(config(), replace(INFO, identity={"model": "own", "revision": "r2"})),
        iter_samples(config(temperature=0.5), INFO),
        iter_samples(config(max_new_tokens=8), INFO),
    ]
    for other in others:
        assert base.isdisjoint({request.identity for request in other})


def test_records_have_no_document_and_runs_go_on(tmp_path):
    engine = Echo()
    books = run_generation(config(), "sample", [], tmp_path / "l", lambda _: None, lambda: False, engine=engine)
    assert (books.requested, books.ok, books.pending) == (6, 6, 0)
    assert len(engine.seeds) == 7  # one empty sample was drawn again
    again = run_generation(config(9), "sample", [], tmp_path / "l", lambda _: None, lambda: False, engine=Echo())
    assert (again.ok, again.num_sent) == (9, 4)  # three new ones, the first of which came out empty once
    counts = export_generations(plan_requests(config(9), "sample", [], INFO), tmp_path / "l", tmp_path / "s.parquet")
    table = pq.read_table(tmp_path / "s.parquet")
    assert counts["exported"] == 9
    assert table.column("document_id").null_count == 9
    assert sorted(table.column("generation").to_pylist()) == list(range(9))


def test_an_open_length_is_refused():
    with pytest.raises(RecipeError, match="asks for no samples"):
        next(iter_samples(config(max_new_tokens=None), INFO))
