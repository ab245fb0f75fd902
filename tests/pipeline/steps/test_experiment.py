"""Steps of a recipe: pairing, sharing, what a fingerprint sees and what it does not."""

from __future__ import annotations

import pytest

from megadocs.errors import RecipeError
from megadocs.pipeline.steps.experiment import CorpusFacts, build_experiment, corpus_step
from megadocs.recipe import load_recipe
from megadocs.text.tokenizer import train_tokenizer
from pipeline.corpora import write_recipe, write_texts

FACTS = CorpusFacts(num_train_1x=12, max_multiple=2)


@pytest.fixture
def experiment(tmp_path, split_tokenizer):
    path = write_recipe(tmp_path / "toy.yaml", tmp_path / "texts", split_tokenizer)

    def build(*overrides, digest="d0"):
        recipe = load_recipe(path, overrides)
        return build_experiment(recipe, corpus_step(recipe, digest), FACTS)

    return build


def trains(experiment):
    return {(run.arm.name, run.seed): run.train.fingerprint for run in experiment.runs}


def test_every_step_once_inputs_before_users(experiment):
    steps = experiment().steps
    places = {step.fingerprint: place for place, step in enumerate(steps)}
    assert len(places) == len(steps)
    for step in steps:
        assert all(places[needed.fingerprint] < places[step.fingerprint] for needed in step.inputs.values())
    assert sorted(step.name for step in steps if step.kind == "generate") == [
        "generate rephrase G=2",
        "generate thought G=2",
    ]


def test_of_the_last_seed_the_longest_runs_come_first(experiment):
    built = experiment(
        "arms.all_synthetic={stream.ordering: simple, mixture.synthetic_fraction: 1, train.synthetic_epochs: 2}"
    )
    names = [step.name.split()[1:] for step in built.of_kind("train")]
    first, last = ([arm for arm, _, seed in names if seed == wanted] for wanted in "01")
    assert first == [run.arm.name for run in built.runs if run.seed == 0]  # as the recipe has them
    assert [run.seed for run in built.runs] == [0] * len(first) + [1] * len(first)
    # No end is known without real text; 4 passes of one in four windows, of 2x the documents, of 1x.
    assert last == ["all_synthetic", "simple", "stitched", "latent_thoughts", "real_2x", "real_only"]


def test_arms_that_the_corpus_cannot_serve_are_left_out(experiment):
    built = experiment()
    assert built.left_out == {"real_4x": "needs 48 training documents, the corpus has 24"}
    assert len(built.runs) == 5 * 2


@pytest.mark.parametrize(
    "override",
    [
        "train.log_every_steps=3",
        "train.checkpoint_minutes=3",
        "generate.engine.concurrency=2",
        "generate.limits.max_requests=5",
        "analysis.num_bootstrap=500",
        "seeds=[0, 1, 2]",
        "train.beta1=0.9",
    ],
)
def test_how_the_work_is_done_does_not_change_what_it_is(experiment, override):
    assert trains(experiment()).items() <= trains(experiment(override)).items()


def test_more_generations_leave_the_runs_of_fewer(experiment):
    fixed = "arms.simple.stream.num_generations=2"
    before, after = trains(experiment()), trains(experiment("generate.rephrase.num_generations=8", fixed))
    assert before["simple", 0] == after["simple", 0]
    assert before["real_only", 0] == after["real_only", 0]
    assert before["stitched", 0] != after["stitched", 0]


@pytest.mark.parametrize(
    ("override", "changed"),
    [
        ("train.weight_decay=0.1", {"real_only", "real_2x", "simple", "stitched", "latent_thoughts"}),
        ("generate.temperature=0.7", {"simple", "stitched", "latent_thoughts"}),
        ("generate.rephrase.max_new_tokens=61", {"simple", "stitched"}),
        ("generate.gates.echo=reject", {"simple", "stitched", "latent_thoughts"}),
        ("tokenizer.vocab_size=301", {"real_only", "real_2x", "simple", "stitched", "latent_thoughts"}),
    ],
)
def test_a_change_reaches_the_runs_it_concerns_and_no_other(experiment, override, changed):
    before, after = trains(experiment()), trains(experiment(override))
    assert {arm for arm, seed in before if before[arm, seed] != after[arm, seed]} == changed


def test_the_source_content_enters(experiment):
    assert not set(trains(experiment()).values()) & set(trains(experiment(digest="d1")).values())


def test_a_local_tokenizer_enters_by_its_content(experiment, tmp_path):
    for name, text in (("a", "some text"), ("b", "some text"), ("c", "other words here")):
        train_tokenizer([text] * 3, 280).save(tmp_path / name)
    prints = [
        experiment(f"tokenizer={{kind: load, source: {tmp_path / name}}}").tokenizer.fingerprint for name in "abc"
    ]
    assert prints[0] == prints[1] != prints[2]


def test_equal_arms_share_their_run(experiment):
    built = experiment("arms.twin={stream.ordering: simple, mixture.synthetic_fraction: 0.75}")
    fingerprints = trains(built)
    assert fingerprints["twin", 0] == fingerprints["simple", 0]
    assert len(built.of_kind("train")) == 10


def test_a_stream_may_not_ask_for_more_than_is_generated(experiment):
    with pytest.raises(RecipeError, match="5 generations asked for, 2 are generated"):
        experiment("arms.simple.stream.num_generations=5")


@pytest.mark.parametrize(("fast", "stands_for"), [(True, "bfloat16"), (False, "float32")])
def test_the_compute_type_of_a_machine_enters_as_if_it_were_written(experiment, monkeypatch, fast, stands_for):
    written = {dtype: trains(experiment(f"train.dtype={dtype}")) for dtype in ("bfloat16", "float32")}
    monkeypatch.setattr("megadocs.machine.has_fast_bfloat16", lambda device: fast)
    assert trains(experiment()) == trains(experiment("train.dtype=auto")) == written[stands_for]
    assert not set(written["bfloat16"].values()) & set(written["float32"].values())


@pytest.fixture
def pretrained(tmp_path):
    from megadocs.model import build_model, export_hf
    from megadocs.recipe import ModelConfig

    shape = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 1, "num_attention_heads": 2}
    return export_hf(build_model(ModelConfig(**shape), 300, 64, 0), tmp_path / "pretrained")


def test_a_pretrained_model_is_known_by_its_content(experiment, pretrained, tmp_path):
    import shutil

    from safetensors.torch import load_file, save_file

    from megadocs.model.pretrained import local_model_digest

    def fingerprints(folder):
        local_model_digest.cache_clear()  # read once in a process; a change is seen by the next command
        return trains(experiment(f"model={{init_from: {folder}}}"))

    before = fingerprints(pretrained)
    shutil.copytree(pretrained, tmp_path / "copied")
    assert fingerprints(tmp_path / "copied") == before
    weights = load_file(pretrained / "model.safetensors")
    save_file({name: tensor * 0.5 for name, tensor in weights.items()}, pretrained / "model.safetensors")
    halved = fingerprints(pretrained)
    (pretrained / "config.json").write_text((pretrained / "config.json").read_text().replace("1e-05", "1e-06"))
    changed = fingerprints(pretrained)
    assert not set(before.values()) & set(halved.values())
    assert not set(halved.values()) & set(changed.values())


@pytest.mark.parametrize(
    "key",
    ["preset: 5m", "hidden_size: 64", "rope_theta: 500000", "tie_word_embeddings: true", "rms_norm_eps: 0.1"],
)
def test_keys_that_the_pretrained_folder_decides_are_refused(experiment, pretrained, key):
    with pytest.raises(RecipeError, match=f"init_from decides the shape: remove model.{key.split(':')[0]}"):
        experiment(f"model={{init_from: {pretrained}, {key}}}")


def test_only_arms_with_a_boundary_are_scored_anew(experiment, tmp_path):
    """Everybody else's scores of 0.1 stay valid: their identity says nothing of boundaries."""
    write_texts(tmp_path / "texts", 12)
    more = ("evaluate.sets.long={}", "ensembles.pair={arm: simple}")
    before = {step.name: step for step in experiment(*more).steps}
    inside = {step.name: step for step in experiment(*more, "arms.simple={stream.attention_boundary: row}").steps}
    scores = [name for name, step in before.items() if step.kind in ("evaluate", "extra_set", "ensemble")]
    assert all("attention_boundary" not in before[name].identity for name in scores)
    changed = {name for name in scores if inside[name].fingerprint != before[name].fingerprint}
    assert changed == {name for name in scores if "simple" in name or "pair" in name}
    assert {inside[name].identity["attention_boundary"] for name in changed} == {"row"}


def test_only_validation_within_a_boundary_trains_again(experiment):
    often = "train.evaluate_every_steps=5"
    plain, inside = experiment(often), experiment(often, "arms.simple={stream.attention_boundary: row}")
    assert all("validation" not in run.train.identity for run in plain.runs)
    assert {run.arm.name for run in inside.runs if "validation" in run.train.identity} == {"simple"}
    rarely = experiment("arms.simple={stream.attention_boundary: row}")
    assert all("validation" not in run.train.identity for run in rarely.runs)
