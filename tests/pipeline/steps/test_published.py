"""Arms on published datasets, as a user runs them: a recipe over Parquet files of the hub's shape, no generator."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from megadocs.corpus import read_corpus
from megadocs.errors import InputError, RecipeError
from megadocs.pipeline.steps.experiment import CorpusFacts, build_experiment, corpus_step
from megadocs.pipeline.steps.sources import sources_step
from megadocs.recipe import load_recipe
from megadocs.rows import RowsManifest, open_rows
from megadocs.store.artifact import Workspace
from pipeline.corpora import write_texts
from pipeline.test_end_to_end import megadocs, summaries

BOS, EOS = "<|begin_of_text|>", "<|end_of_text|>"
NUM_REAL = 24

RECIPE = """
name: hub
corpus: {source: DATA/validation}
published:
  document_fraction: 0.5
  datasets:
    real: {source: DATA/real, form: real}
    g2: {source: DATA/g2, form: stitched, num_generations: 2}
    g3: {source: DATA/g3, form: stitched, num_generations: 3, rows_per_document: 4}
    thoughts: {source: DATA/thoughts, form: latent_thoughts, num_generations: 2}
tokenizer: {kind: train, vocab_size: 300}
model: {hidden_size: 32, intermediate_size: 64, num_hidden_layers: 1, num_attention_heads: 2}
train: {context_length: 64, batch_size: 4, real_epochs: 2, log_every_steps: 1}
mixture: {block_windows: 16}
stream: {num_generations: 2}
analysis: {num_bootstrap: 100}
arms:
  real_only: {}
  real_2x: {mixture.real_multiple: 2}
  simple: {stream.ordering: simple, mixture.synthetic_fraction: 0.75}
  stitched: {stream.ordering: stitched, mixture.synthetic_fraction: 0.75}
  stitched_g3: {stream.ordering: stitched, stream.num_generations: 3, mixture.synthetic_fraction: 0.75}
  latent_thoughts: {stream.ordering: latent_thoughts, mixture.synthetic_fraction: 0.75}
"""


def write(folder: Path, texts: list[str], *, shards: int = 1) -> None:
    """A dataset as the hub keeps it: shards of Parquet with one text column."""
    folder.mkdir(parents=True)
    size = -(-len(texts) // shards)
    for shard in range(shards):
        part = texts[shard * size : (shard + 1) * size]
        pq.write_table(pa.table({"text": part}), folder / f"train-{shard:05d}-of-{shards:05d}.parquet")


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """real, g2 (a record is a megadoc), g3 (a record is a row), thoughts (shuffled) and validation; and the recipe."""
    root = tmp_path_factory.mktemp("hub")
    texts = [path.read_text() for path in sorted(write_texts(root / "texts", NUM_REAL + 20).iterdir())]
    real, held_out = texts[:NUM_REAL], [*texts[NUM_REAL:], texts[0]]  # the last one is a training document
    write(root / "data/real", [f"{BOS}{text}{EOS}" for text in real], shards=2)
    megadocs_ = [[*(f"Version {g} of it. {text}" for g in range(3)), text] for text in real]
    write(root / "data/g2", ["".join(f"{BOS}{row}{EOS}" for row in (*rows[:2], rows[-1])) for rows in megadocs_])
    write(root / "data/g3", [row for rows in megadocs_ for row in rows], shards=3)
    stretched = [f"{t[:90]}<think>so</think>{t[90:200]}<think>thus</think>{t[200:]}" for t in reversed(real)]
    write(root / "data/thoughts", stretched)
    write(root / "data/validation", held_out)
    (root / "recipe.yaml").write_text(RECIPE.replace("DATA", str(root / "data")), encoding="utf-8")
    return root


def test_the_arms_run_without_a_generator(hub: Path, tmp_path: Path) -> None:
    recipe, workspace = hub / "recipe.yaml", tmp_path / "ws"
    plan = megadocs("plan", recipe, "--workspace", workspace)
    assert plan.returncode == 0, plan.stderr
    assert "generate" not in plan.stdout
    done = megadocs("run", recipe, "--workspace", workspace, "--jobs", 2)
    assert done.returncode == 0, done.stderr
    assert not (workspace / "ledger").exists()
    assert not list(workspace.glob("generate/*"))
    streams = {
        record["config"]["stream"]["ordering"]: record["summary"]["streams"]
        for record in (json.loads(path.read_text()) for path in workspace.glob("train/*/record.json"))
        if record["config"]["stream"]["num_generations"] == 2
    }
    simple, stitched = streams["simple"][1], streams["stitched"][1]
    assert (simple["num_rows"], simple["num_tokens"]) == (stitched["num_rows"], stitched["num_tokens"])
    assert simple["num_rows"] == NUM_REAL // 2 * 3
    assert all(stream["num_missing"] == 0 for of_arm in streams.values() for stream in of_arm)
    assert megadocs("verify", workspace, "--json").returncode == 0
    assert (workspace / "report.html").is_file()

    corpus = read_corpus(next(workspace.glob("corpus/*")))
    assert (len(corpus.train), corpus.num_train_1x, corpus.max_multiple) == (NUM_REAL, NUM_REAL // 2, 2)
    assert (len(corpus.validation), len(corpus.test)) == (10, 10)
    assert corpus.report["duplicates"] == {"of_training_documents": 1}
    counts = [summary["published"] for summary in summaries(workspace, "rows") if "published" in summary]
    assert all(count.get("records_empty", 0) == 0 for count in counts)

    shown = megadocs("streams", "show", recipe, "--workspace", workspace, "--arm", "stitched_g3", "--json")
    facts = json.loads(shown.stdout)[1]["facts"]
    assert facts["rows_by_kind"] == {"real": NUM_REAL // 2, "rephrase": NUM_REAL // 2 * 3}

    more = f"published.datasets.g9={{source: {hub}/data/g2, form: stitched, num_generations: 9}}"
    again = megadocs("train", recipe, more, "--workspace", workspace)
    assert again.returncode == 0, again.stderr
    assert "0 steps done" in again.stderr  # another dataset leaves finished runs valid


@pytest.mark.parametrize("verb", ["run", "train", "search"])
def test_gaps_of_a_dataset_are_found_before_the_first_training(hub: Path, tmp_path: Path, verb: str) -> None:
    """The last arm's dataset lacks five of twelve documents: no arm before it is trained."""
    records = pq.read_table(next((hub / "data/g2").iterdir()))
    texts = records["text"].to_pylist()
    write(tmp_path / "holes", [*texts[:7], *texts[12:]])
    axes = "search={axes: {train.learning_rate: {values: [1e-3, 1e-2]}}, arms: [real_only, simple]}"
    words = [
        f"published.datasets.g2.source={tmp_path / 'holes'}",
        "published.document_fraction=1",
        "arms.stitched_g3={}",
    ]
    ended = megadocs(
        verb, hub / "recipe.yaml", *words, *([axes] if verb == "search" else []), "--workspace", tmp_path / "ws"
    )
    assert ended.returncode == 3, ended.stderr
    assert "arm simple: 10 of 48 generations are missing, of 5 documents" in ended.stderr
    assert "(nothing was trained)" in ended.stderr
    assert "published.datasets: g2" in ended.stderr
    assert not list((tmp_path / "ws").glob("train/*"))
    if verb == "train":
        allowed = megadocs(
            verb, hub / "recipe.yaml", *words, "stream.max_missing_fraction=0.3", "--workspace", tmp_path / "ws"
        )
        assert allowed.returncode == 0, allowed.stderr


def experiment(hub: Path, *overrides: str):
    recipe = load_recipe(hub / "recipe.yaml", overrides)
    digests = {name: f"digest of {name}" for name in recipe.published.datasets}
    return build_experiment(recipe, corpus_step(recipe, "any", digests), CorpusFacts(12, 2))


def test_a_dataset_is_its_content_not_its_place(hub: Path, tmp_path: Path) -> None:
    def fingerprints(*overrides: str, digest: str = "any") -> list[str]:
        recipe = load_recipe(hub / "recipe.yaml", overrides)
        corpus = corpus_step(recipe, "any", dict.fromkeys(recipe.published.datasets, digest))
        return [run.train.fingerprint for run in build_experiment(recipe, corpus, CorpusFacts(12, 2)).runs]

    moved = [f"published.datasets.{name}.source={tmp_path}/{name}" for name in ("real", "g2", "g3", "thoughts")]
    assert fingerprints() == fingerprints(*moved)
    assert not set(fingerprints()) & set(fingerprints(digest="other"))


def test_an_arm_depends_on_its_own_dataset_alone(hub: Path) -> None:
    more = "published.datasets.g4={source: x, form: stitched, num_generations: 4}"
    before, after = ({run.arm.name: run.train.fingerprint for run in experiment(hub, *o).runs} for o in ((), (more,)))
    assert before == after
    reading = {run.arm.name: run.train.fingerprint for run in experiment(hub, "published.separators=['#']").runs}
    assert not set(before.values()) & set(reading.values())


@pytest.mark.parametrize(
    "overrides, message",
    [
        (["stream.num_generations=5"], "no published dataset holds rephrase rows of G = 5"),
        (["arms.latent_thoughts={stream.ordering: latent_thoughts, stream.num_generations: 1, "
          "mixture.synthetic_fraction: 0.5}"], "no published dataset holds latent_thoughts rows of G = 1"),
        (["published.datasets.other={source: x, form: stitched, num_generations: 2}"], "several published datasets"),
        (["stream.datasets=[g7]"], "no published dataset 'g7'"),
        (["arms={x: {stream.ordering: self_distilled, mixture.synthetic_fraction: 0.5}}"], "sample"),
    ],
)  # fmt: skip
def test_datasets_that_do_not_serve_an_arm_are_refused(hub: Path, overrides: list[str], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        experiment(hub, *overrides)


def test_an_arm_may_name_its_dataset_or_use_the_first_of_more_generations(hub: Path) -> None:
    other = "published.datasets.other={source: x, form: stitched, num_generations: 2}"
    named = {
        run.arm.name: [step.name for step in run.train.inputs.values() if step.kind == "rows"]
        for run in experiment(hub, other, "arms.simple={stream.ordering: simple, stream.datasets: [other], "
                              "mixture.synthetic_fraction: 0.5}", "arms.stitched={}").runs
    }  # fmt: skip
    assert named["simple"] == ["rows real", "rows rephrase of other"]
    one = "arms.simple={stream.ordering: simple, stream.datasets: [g3], mixture.synthetic_fraction: 0.5}"
    runs = {run.arm.name: run for run in experiment(hub, one).runs}
    assert runs["simple"].train.config["stream"]["num_generations"] == 2
    assert "rows g3 rephrase" in runs["simple"].train.inputs


def test_a_corpus_of_ones_own_with_rephrases_of_others(hub: Path, tmp_path: Path) -> None:
    """The datasets' rows belong to the documents of an ordinary corpus, by the hash of their text."""
    overrides = ["published.real_documents=corpus", f"corpus.source={hub}/texts", "arms={simple: {stream.ordering: "
                 "simple, mixture.synthetic_fraction: 0.75}}", "stream.max_missing_fraction=0.9"]  # fmt: skip
    done = megadocs("rows", hub / "recipe.yaml", *overrides, "--workspace", tmp_path / "ws")
    assert done.returncode == 0, done.stderr
    manifests = [RowsManifest.load(path) for path in (tmp_path / "ws").glob("rows/*/rows.json")]
    table = open_rows(manifests, tmp_path / "ws/segments").table
    corpus = read_corpus(next((tmp_path / "ws").glob("corpus/*")))
    assert set(table.document_ids) == {document.id for document in corpus.train}


def test_a_dataset_that_cannot_be_reached_says_what_to_do(hub: Path, tmp_path: Path, monkeypatch) -> None:
    recipe = load_recipe(hub / "recipe.yaml", ["published.datasets.g2.source=hf://nobody/nothing-of-this-name"])
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(InputError, match=r"published\.datasets\.g2\.source") as caught:
        sources_step(recipe, Workspace(tmp_path / "ws"))
    assert "give their folder" in str(caught.value)
    with pytest.raises(InputError, match=r"published\.datasets\.g2\.source"):
        sources_step(
            load_recipe(hub / "recipe.yaml", [f"published.datasets.g2.source={tmp_path}/none"]), Workspace(tmp_path)
        )
