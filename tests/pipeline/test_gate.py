"""A controlled world through the whole chain: losses over the floor, and the gate's measurements and sentence."""

from __future__ import annotations

import json

import pytest

from megadocs.analysis import gate_sentences
from megadocs.errors import MegadocsError
from megadocs.generate.engines import build_engine
from megadocs.pipeline.generation import audit_all, export_all, iter_status, plan_tasks, retry_generations
from megadocs.pipeline.price.plan import build_plan
from megadocs.pipeline.run import STAGES, run_experiment, steps_of_stage
from megadocs.pipeline.steps.experiment import build_experiment
from megadocs.pipeline.steps.sources import corpus_facts, sources_step
from megadocs.pipeline.steps.step import find_artifact
from megadocs.recipe import load_recipe
from megadocs.store.artifact import Workspace
from pipeline.inline import InlineExecutor

RECIPE = """
name: tiny_world
corpus:
  source: world://seed=7,documents=120,facts=2,mentions=2,name_length=2,syllables=16
  split: {train: 20, validation: 8, test: 10, max_multiple: 1, probe: 24}
generate:
  engine: {kind: world, concurrency: 16}
  rephrase: {num_generations: 2}
tokenizer: {kind: train, vocab_size: 400}
model: {hidden_size: 16, intermediate_size: 32, num_hidden_layers: 1, num_attention_heads: 2, num_key_value_heads: 2}
mixture: {block_windows: 8}
train: {context_length: 64, batch_size: 2, real_epochs: 1, dtype: float32}
analysis: {num_bootstrap: 100, baseline: simple}
arms:
  simple: {stream.ordering: simple, mixture.synthetic_fraction: 0.75}
  stitched: {stream.ordering: stitched, mixture.synthetic_fraction: 0.75}
  copies: {stream.ordering: repeat, stream.num_generations: 2, mixture.synthetic_fraction: 0.75}
seeds: [0, 1]
"""

ONE_ARM = "arms={simple: {stream.ordering: simple, mixture.synthetic_fraction: 0.75}}"


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """The recipe's file, its workspace, and what a run of it came to."""
    root = tmp_path_factory.mktemp("world")
    path = root / "recipe.yaml"
    path.write_text(RECIPE)
    outcome = run_experiment(load_recipe(path), root / "ws", executor=InlineExecutor(root / "ws"))
    assert outcome.errors == []
    return path, root / "ws", outcome


def test_losses_stand_over_a_known_floor_by_class(finished) -> None:
    _, workspace, _ = finished
    results = json.loads((workspace / "results.json").read_text())
    tables = {table["class"]: table for table in results["world"]}
    assert set(tables) == {"template", "first_mention", "later_mention", "all"}
    assert tables["later_mention"]["floor"] == 0.0
    for table in tables.values():  # the floor is a mean over all documents; one test set may lie under it by chance
        assert all(row["excess"] > -0.1 for row in table["arms"])
        assert [row["arm"] for row in table["arms"]] == ["simple", "stitched", "copies"]
    parts = [table for name, table in tables.items() if name != "all"]
    assert sum(table["num_tokens"] for table in parts) == tables["all"]["num_tokens"]
    for place in range(3):
        summed = sum(table["num_tokens"] * table["arms"][place]["excess"] for table in parts)
        assert summed == pytest.approx(tables["all"]["num_tokens"] * tables["all"]["arms"][place]["excess"])
    assert "Over the floor" in (workspace / "report.html").read_text()


def test_the_first_seed_of_arms_with_siblings_passes_the_gate(finished) -> None:
    _, workspace, outcome = finished
    results = json.loads((workspace / "results.json").read_text())
    assert [(row["arm"], row["seed"]) for row in results["gate"]] == [("simple", 0), ("stitched", 0)]
    assert {row["verdict"] for row in results["gate"]} <= {"cannot", "undecided"}  # 16 steps teach no copying
    assert results["gate"][1]["sibling_gain"]["num_documents"] == 24
    (said,) = gate_sentences(results["gate"], results)
    assert said in results["answer"][:4]  # behind the engine, the floor and the control
    html = (workspace / "report.html").read_text()
    assert "Can order act here?" in html
    assert "probe documents (written about, never trained on)" in html
    gates = [run.scored.gate for run in outcome.experiment.runs if run.scored.gate is not None]
    assert all(find_artifact(step, Workspace(workspace)) is not None for step in gates)


def test_probe_documents_are_written_about_and_in_no_training_text(finished) -> None:
    _, workspace, outcome = finished
    ids = {"train": set(), "probe": set()}
    for run in outcome.experiment.runs:
        for role, step in run.train.inputs.items():
            if role.startswith("rows"):
                texts = (find_artifact(step, Workspace(workspace)).path / "rows.json").read_text()
                ids["train"].add(texts)
    import pyarrow.parquet as pq

    corpus = pq.read_table(find_artifact(outcome.experiment.corpus, Workspace(workspace)).path / "documents.parquet")
    probe = {row["id"] for row in corpus.to_pylist() if row["split"] == "probe"}
    written = [step for step in outcome.experiment.steps if step.config.get("documents") == "probe"]
    assert len(written) == 1
    table = pq.read_table(find_artifact(written[0], Workspace(workspace)).path / "generations.parquet")
    assert set(table.column("document_id").to_pylist()) == probe
    for path in workspace.glob("segments/*/*.parquet"):
        assert not probe & set(pq.read_table(path).column("document_id").to_pylist())
    audit = json.loads((workspace / "audit.json").read_text())
    assert set(audit["overlap"]) == {"validation", "test", "probe"}


def test_a_plan_prices_the_gate_and_the_probe_text(finished) -> None:
    path, workspace, _ = finished
    before = {line.name: line for line in build_plan(load_recipe(path), workspace / "none", 2).lines}
    assert before["generate rephrase G=2 of probe documents"].num_requests == 48
    assert before["generate rephrase G=2"].num_requests == 40
    assert before["gate stitched seed 0"].status == "to do"
    assert {line.status for line in build_plan(load_recipe(path), workspace, 2).lines} == {"done"}


@pytest.mark.parametrize(
    ("override", "named"),
    [
        ("corpus.split.probe=100", "corpus.split.probe"),
        ("corpus.source=world://facts=99", "facts is a whole number"),
        ("train.context_length=12", "the student sees 12"),
        ("arms={simple: {}}", "no arm's stream holds rephrases"),
    ],
)
def test_bad_input_is_one_message(finished, tmp_path, override, named) -> None:
    path, _, _ = finished
    recipe = load_recipe(path, [override, "seeds=[0]", "evaluate.stride=4"])
    try:
        outcome = run_experiment(recipe, tmp_path / "ws", executor=InlineExecutor(tmp_path / "ws"))
        said = [f"{error['what']} {error['where']}" for error in outcome.errors]
    except MegadocsError as error:
        said = [str(error)]
    assert any(named in text for text in said), said


def test_training_alone_does_not_write_the_probes_text(finished) -> None:
    _, _, outcome = finished
    kinds = {stage: {step.kind for step in steps_of_stage(outcome.experiment, stage)} for stage in STAGES}
    assert kinds["train"] == {"corpus", "tokenizer", "generate", "rows", "train"}
    assert kinds["rows"] == kinds["train"] - {"train"}
    assert "gate" in kinds["evaluate"] and kinds["evaluate"] == kinds["report"]  # the report itself is made afterwards
    of_probes = {
        stage: [step for step in steps_of_stage(outcome.experiment, stage) if step.config.get("documents") == "probe"]
        for stage in STAGES
    }
    assert not of_probes["train"] and not of_probes["rows"]
    assert len(of_probes["generate"]) == len(of_probes["evaluate"]) == 1


def test_no_gate_where_it_is_turned_off(finished, tmp_path) -> None:
    path, workspace, _ = finished
    plan = build_plan(load_recipe(path, ["evaluate.gate=false"]), workspace, 2)
    assert not [line for line in plan.lines if line.kind == "gate" or "probe" in line.name]


def test_status_export_and_audit_know_the_generations_of_probe_documents(finished, tmp_path) -> None:
    path, root, _ = finished
    recipe, workspace = load_recipe(path), Workspace(root)
    states = {state.task: state for state in iter_status(recipe, workspace)}
    assert states.keys() == {"rephrase", "rephrase_probe"}
    assert (states["rephrase_probe"].num_documents, states["rephrase_probe"].accounting.ok) == (24, 48)
    counts = export_all(recipe, workspace, tmp_path / "export")
    assert counts["rephrase_probe"]["ok"] == 48
    assert (tmp_path / "export" / "rephrase_probe.parquet").is_file()
    published = json.loads((root / "audit.json").read_text())
    audited = audit_all(recipe, workspace)
    assert set(audited["overlap"]) == set(published["overlap"]) == {"validation", "test", "probe"}
    assert audited["tasks"].keys() == published["tasks"].keys() == {"rephrase"}  # of no training text is said more
    assert {plan.name for plan in plan_tasks(load_recipe(path, ["evaluate.gate=false"]), workspace)} == {"rephrase"}


def test_a_retry_asks_again_for_generations_of_probe_documents(finished, tmp_path) -> None:
    path, _, _ = finished
    recipe, workspace = load_recipe(path), Workspace(tmp_path / "ws")
    engine = recipe.generate.engine
    books = retry_generations(
        recipe, workspace, frozenset({"failed"}), lambda _: None, lambda: False, lambda: build_engine(engine)
    )
    assert {task: entry.ok for task, entry in books.items()} == {"rephrase": 40, "rephrase_probe": 48}


def test_a_search_of_an_arm_without_siblings_is_no_error(finished) -> None:
    path, root, _ = finished
    recipe = load_recipe(
        path,
        [
            "arms={real_only: {}, simple: {stream.ordering: simple, mixture.synthetic_fraction: 0.75}}",
            "analysis.baseline=real_only",
        ],
    )
    corpus = sources_step(recipe, Workspace(root))
    facts = corpus_facts(find_artifact(corpus, Workspace(root)))
    alone = recipe.model_copy(update={"arms": {"real_only": recipe.arms["real_only"]}})
    assert build_experiment(alone, corpus, facts, whole=recipe).runs
    with pytest.raises(MegadocsError, match="no arm's stream holds rephrases"):
        build_experiment(alone, corpus, facts)


def test_a_gate_needs_two_validation_documents_for_copies(finished, tmp_path) -> None:
    path, _, _ = finished
    options = ["corpus.split.validation=1", ONE_ARM, "seeds=[0]"]
    outcome = run_experiment(load_recipe(path, options), tmp_path / "ws", executor=InlineExecutor(tmp_path / "ws"))
    assert outcome.errors == []
    (row,) = json.loads((tmp_path / "ws" / "results.json").read_text())["gate"]
    assert row["copy_gain"] is None
    assert row["sibling_gain"]["num_documents"] == 24
    assert "Can order act here?" in (tmp_path / "ws" / "report.html").read_text()


def test_a_training_document_s_rephrases_too_long_for_the_context_are_named(finished, tmp_path) -> None:
    path, _, _ = finished
    options = ["corpus.split.probe=0", "train.context_length=12", "seeds=[0]", "evaluate.stride=4"]
    recipe = load_recipe(path, [*options, ONE_ARM])
    outcome = run_experiment(recipe, tmp_path / "ws", executor=InlineExecutor(tmp_path / "ws"))
    assert outcome.errors == []
    results = json.loads((tmp_path / "ws" / "results.json").read_text())
    assert "the student sees 12" in results["gate"][0]["why"]
    assert any("the student sees 12" in sentence for sentence in results["answer"])
