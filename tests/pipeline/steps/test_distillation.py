"""From a teacher to a student that trains on its samples, step by step, and the engine between them."""

from __future__ import annotations

import asyncio
import json

import pyarrow.parquet as pq
import pytest
import torch

from megadocs.corpus import source_digest
from megadocs.errors import EngineError
from megadocs.generate import EngineInfo, load_index
from megadocs.generate.engines.protocol import Completion
from megadocs.model import build_model
from megadocs.pipeline.generation import export_all, iter_status
from megadocs.pipeline.stages.own_engine import OwnEngine
from megadocs.pipeline.stages.stage import Stopped, run_step
from megadocs.pipeline.steps.experiment import build_experiment, corpus_step
from megadocs.pipeline.steps.sources import corpus_facts
from megadocs.pipeline.steps.step import find_artifact, job_of
from megadocs.recipe import ModelConfig, load_recipe
from megadocs.store.artifact import Workspace
from megadocs.text.tokenizer import train_tokenizer
from score_tables import read_scores

OVERRIDES = (
    "seeds=[0]",
    "generate.rephrase=null",
    "generate.thought=null",
    "train.dtype=float32",
    "generate.sample={teacher: {arm: real_only, num_members: 2}, num_samples: 12, batch_size: 8}",
    "evaluate.sets.whole={past: [30], short_below_tokens: 100}",
    "ensembles.pair={arm: real_only, num_members: 2}",
)


def run_all(recipe, workspace, wanted=None):
    """Every step of the recipe in this process (those of the wanted kinds, and the report left out)."""
    corpus = corpus_step(recipe, source_digest(recipe.corpus))
    if find_artifact(corpus, workspace) is None:
        run_step(job_of(corpus), workspace, lambda _: None, lambda: False)
    experiment = build_experiment(recipe, corpus, corpus_facts(find_artifact(corpus, workspace)))
    done = []
    for step in experiment.steps:
        if find_artifact(step, workspace) is None and (wanted is None or step.kind in wanted):
            run_step(job_of(step), workspace, lambda _: None, lambda: False)
            done.append(step.name)
    return experiment, done


def make(step, workspace):
    """A step and whatever it needs, in this process."""
    for needed in step.inputs.values():
        make(needed, workspace)
    if find_artifact(step, workspace) is None:
        run_step(job_of(step), workspace, lambda _: None, lambda: False)


@pytest.fixture
def recipe(toy_recipe):
    def load(*more):
        arms = "arms={real_only: {}, student: {stream.ordering: self_distilled}}"
        text = toy_recipe.read_text(encoding="utf-8")
        plain = toy_recipe.with_name("distilled.yaml")
        plain.write_text(text[: text.index("arms:")] + "arms: {}\n", encoding="utf-8")
        return load_recipe(plain, [arms, *OVERRIDES, *more])

    return load


def test_a_student_is_trained_on_its_teachers_samples(tmp_path, recipe):
    workspace = Workspace(tmp_path / "ws")
    experiment, done = run_all(recipe(), workspace)
    assert (
        done.index("train real_only seed 1") < done.index("sample real_only N=12") < done.index("train student seed 0")
    )

    (sample,) = (find_artifact(step, workspace) for step in experiment.of_kind("sample"))
    table = pq.read_table(sample.path / "generations.parquet")
    books = {status.task: status.accounting for status in iter_status(recipe(), workspace)}
    assert (books["sample"].requested, books["sample"].ok, books["sample"].pending) == (12, 12, 0)
    more = {
        status.task: status.accounting for status in iter_status(recipe("generate.sample.num_samples=15"), workspace)
    }
    assert (more["sample"].ok, more["sample"].pending) == (12, 3)
    counts = export_all(recipe(), workspace, tmp_path / "export")["sample"]
    assert counts["exported"] == 12
    exported = pq.read_table(tmp_path / "export" / "sample.parquet")
    assert exported.column_names == [*table.column_names, "reason"]
    assert exported.drop_columns("reason").equals(table)
    assert table.column("document_id").null_count == 12
    assert sorted(table.column("generation").to_pylist()) == list(range(12))
    assert set(table.column("kind").to_pylist()) == {"sample"}
    assert sample.summary["accounting"]["ok"] == 12

    run = next(run for run in experiment.runs if run.arm.name == "student")
    streams = {s["name"]: s for s in find_artifact(run.train, workspace).summary["streams"]}
    assert streams["self_distilled"]["num_rows"] == 12
    trained = {name: stream["num_windows_trained"] for name, stream in streams.items()}
    assert trained["self_distilled"] == pytest.approx(trained["real"], rel=0.05)  # the last block is not whole

    _, again = run_all(recipe(), workspace)
    assert again == []
    _, grown = run_all(recipe("generate.sample.num_samples=20"), workspace, wanted={"sample"})
    assert grown == ["sample real_only N=20"]
    assert len(load_index(workspace.root / "ledger" / "sample")) == 20  # the first twelve were there

    check_scores(experiment, workspace, run)


def check_scores(experiment, workspace, run):
    """Further sets and ensembles: their tables hold what the summaries say, the members' losses among them."""
    scores = {
        (s.set, s.mode): s
        for s in read_scores(find_artifact(run.scored.sets["whole"], workspace).path / "scores.parquet")
    }
    assert {name for name, _ in scores} >= {"whole", "whole_past_30"}
    late, whole = scores["whole_past_30", "alone"], scores["whole", "alone"]
    parts = [scores[name, "alone"] for name in ("whole_short", "whole_long") if (name, "alone") in scores]
    assert sum(part.sum_nll.sum() for part in parts) == pytest.approx(whole.sum_nll.sum())
    positions = json.loads((find_artifact(run.scored.sets["whole"], workspace).path / "positions.json").read_text())
    assert sum(r["num_tokens"] for r in positions[0]["ranges"]) == whole.num_tokens.sum()
    assert 0 < late.num_tokens.sum() < whole.num_tokens.sum()
    assert late.sum_nll.sum() < whole.sum_nll.sum()

    (ensemble,) = experiment.ensembles
    artifact = find_artifact(ensemble.losses, workspace)
    rows = pq.read_table(artifact.path / "ensemble.parquet").to_pylist()
    alone = [r for r in rows if (r["set"], r["mode"], r["members"], r["average"]) == ("test", "alone", [0], "logits")]
    first = next(r for r in experiment.runs if (r.arm.name, r.seed) == ("real_only", 0))
    own = read_scores(find_artifact(first.evaluate, workspace).path / "scores.parquet")
    expected = next(s for s in own if (s.set, s.mode) == ("test", "alone"))
    assert sum(r["sum_nll"] for r in alone) == pytest.approx(expected.sum_nll.sum(), abs=1e-3)
    sizes = artifact.summary["losses"]["test windowed"]["sizes"]
    assert [(s["average"], s["num_members"]) for s in sizes] == [
        ("logits", 1), ("logits", 2), ("probabilities", 1), ("probabilities", 2)
    ]  # fmt: skip
    assert sizes[1]["nats_per_token"] < sizes[0]["nats_per_token"]


def test_stopped_sampling_keeps_what_it_has(tmp_path, recipe):
    workspace = Workspace(tmp_path / "ws")
    settings = recipe("generate.sample.batch_size=2", "generate.sample.num_samples=40")
    corpus = corpus_step(settings, source_digest(settings.corpus))
    run_step(job_of(corpus), workspace, lambda _: None, lambda: False)
    experiment = build_experiment(settings, corpus, corpus_facts(find_artifact(corpus, workspace)))
    (sample,) = experiment.of_kind("sample")

    for needed in sample.inputs.values():
        make(needed, workspace)
    ledger = workspace.root / "ledger" / "sample"
    with pytest.raises(Stopped):
        run_step(job_of(sample), workspace, lambda _: None, lambda: len(load_index(ledger)) >= 4)
    kept = len(load_index(ledger))
    assert 4 <= kept < 40
    make(sample, workspace)
    assert len(load_index(ledger)) == 40
    sent = find_artifact(sample, workspace).summary["accounting"]["num_sent"]
    assert 40 - kept <= sent < 40  # an empty sample may be drawn twice


def test_scoring_stops_when_asked_and_publishes_nothing(tmp_path, recipe):
    workspace = Workspace(tmp_path / "ws")
    corpus = corpus_step(recipe(), source_digest(recipe().corpus))
    run_step(job_of(corpus), workspace, lambda _: None, lambda: False)
    experiment = build_experiment(recipe(), corpus, corpus_facts(find_artifact(corpus, workspace)))
    run = next(run for run in experiment.runs if run.arm.name == "real_only")
    make(run.train, workspace)
    heard = []
    with pytest.raises(Stopped):
        run_step(job_of(run.evaluate), workspace, heard.append, lambda: len(heard) >= 2)
    assert heard[0]["note"] == "validation"
    assert find_artifact(run.evaluate, workspace) is None


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer(["the cat sat on the mat and the dog lay by the door"] * 4, 300)


def models(tokenizer, seeds):
    shape = ModelConfig(hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=2)
    made = [build_model(shape, tokenizer.vocab_size, 32, seed) for seed in seeds]
    with torch.no_grad():
        for parameter in (p for model in made for p in model.parameters() if p.ndim > 1):
            parameter.mul_(3)
    return made


def replies(engine, seeds):
    async def ask():
        await engine.start()
        one = {"messages": [], "max_new_tokens": 8, "temperature": 1.0, "top_p": 1.0, "timeout_seconds": 9, "extra": {}}
        found = await asyncio.gather(*(engine.complete(Completion(seed=seed, **one)) for seed in seeds))
        await engine.close()
        return [reply.text for reply in found]

    return asyncio.run(ask())


def test_the_engine_answers_each_seed_alike_in_any_batch(tokenizer):
    (model,) = models(tokenizer, [0])
    info = EngineInfo({}, 32, concurrency=4)
    together = replies(OwnEngine([model], tokenizer, info), range(6))
    alone = [replies(OwnEngine([model], tokenizer, info), [seed])[0] for seed in range(6)]
    assert together == alone
    assert len(set(together)) > 3


def test_members_write_in_turn_and_averages_write_together(tokenizer):
    pair, info = models(tokenizer, [0, 1]), EngineInfo({}, 32, concurrency=4)
    single = [replies(OwnEngine([model], tokenizer, info), range(4)) for model in pair]
    mixed = replies(OwnEngine(pair, tokenizer, info, mix="members"), range(4))
    assert mixed == [single[seed % 2][seed] for seed in range(4)]
    twins = replies(OwnEngine([pair[0], pair[0]], tokenizer, info, mix="logits"), range(4))
    assert twins == single[0]


def test_a_sample_ends_where_another_document_begins(tokenizer):
    engine = OwnEngine(models(tokenizer, [0]), tokenizer, EngineInfo({}, 32, concurrency=1))

    async def ask():
        await engine.start()
        one = {"messages": [], "max_new_tokens": 8, "temperature": 1.0, "top_p": 1.0, "timeout_seconds": 9, "extra": {}}
        asked = asyncio.create_task(engine.complete(Completion(seed=0, **one)))
        await asyncio.sleep(0)
        ((_, request),) = engine._new
        await asked
        await engine.close()
        return request

    assert asyncio.run(ask()).stop_ids == {tokenizer.bos_id, tokenizer.eos_id}


def test_a_failing_model_ends_the_run_with_its_reason(tokenizer, monkeypatch):
    engine = OwnEngine(models(tokenizer, [0]), tokenizer, EngineInfo({}, 32, concurrency=4))

    def broken(batcher):
        raise RuntimeError("out of memory")

    monkeypatch.setattr("megadocs.model.batching.Batcher.step", broken)
    with pytest.raises(Exception, match="sampling failed: RuntimeError: out of memory"):
        replies(engine, [0])


def test_a_failure_ends_all_samples_and_is_said_again(tokenizer):
    """Whatever fails, a request that cannot be taken too: nobody waits for ever."""
    engine = OwnEngine(models(tokenizer, [0]), tokenizer, EngineInfo({}, 1, concurrency=2))  # no room for a token
    one = {"messages": [], "max_new_tokens": 8, "temperature": 1.0, "top_p": 1.0, "timeout_seconds": 9, "extra": {}}

    async def ask(*seeds):
        requests = (engine.complete(Completion(seed=seed, **one)) for seed in seeds)
        async with asyncio.timeout(60):
            return await asyncio.gather(*requests, return_exceptions=True)

    async def main():
        await engine.start()
        failures = [*await ask(0, 1), *await ask(2)]
        await engine.close()
        return failures

    failures = asyncio.run(main())
    assert [type(failure) for failure in failures] == [EngineError] * 3
    assert all("sampling failed" in str(failure) for failure in failures)
