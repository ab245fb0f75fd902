"""Any model on any set: errors that name what does not fit, ensembles, benchmarks, results that are kept."""

from __future__ import annotations

import json

import pytest
import torch

from megadocs.cli.evaluate import print_result, score_models
from megadocs.errors import InputError, UsageError
from megadocs.evaluate.benchmarks.tasks import find_benchmark
from megadocs.evaluate.cache import ScoreCache
from megadocs.model import build_model, export_hf
from megadocs.pipeline.run import run_experiment
from megadocs.pipeline.score_models import ContinuedScoring, load_members, set_of_source
from megadocs.recipe import ModelConfig, load_recipe
from megadocs.text.tokenizer import train_tokenizer
from pipeline.corpora import WORDS, write_recipe, write_texts

SHAPE = ModelConfig(hidden_size=32, intermediate_size=48, num_hidden_layers=1, num_attention_heads=2)


@pytest.fixture(scope="module")
def texts(tmp_path_factory):
    return write_texts(tmp_path_factory.mktemp("data") / "texts", 6)


def write_model(folder, seed, vocab_size=300, words=WORDS):
    tokenizer = train_tokenizer([" ".join(words)] * 2, vocab_size)
    model = build_model(SHAPE, tokenizer.vocab_size, 64, seed)
    with torch.no_grad():
        model.lm_head.weight.mul_(20)
    export_hf(model, folder)
    tokenizer.save(folder)
    return str(folder)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("models")
    return [write_model(root / f"m{seed}", seed) for seed in range(4)]


@pytest.fixture(scope="module")
def items(tmp_path_factory):
    path = tmp_path_factory.mktemp("items") / "piqa.jsonl"
    lines = [{"goal": f"the {word}", "sol1": "opens it", "sol2": "finds the stone", "label": 1} for word in WORDS[:12]]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def score(models, texts, **more):
    sets = {} if texts is None else {"mine": str(texts)}
    given = {"recipe": None, "overrides": (), "sets": sets, "benchmarks": [], "workspace": None}
    options = {"context_length": 64, "subsets": "prefixes"}
    loading = {"dtype": "float32", "device": "cpu"}
    return score_models(models, **(given | {"options": options, "loading": loading} | more))


def test_an_ensemble_of_four_on_a_set_and_a_benchmark(folders, texts, items, capsys):
    result = score(folders, texts, benchmarks=[find_benchmark("piqa", source=str(items))])
    sizes = result["losses"]["mine windowed"]["sizes"]
    assert [(s["average"], s["num_members"]) for s in sizes] == [
        (kind, size) for kind in ("logits", "probabilities") for size in (1, 2, 3, 4)
    ]
    assert sizes[0]["nats_per_token"] == sizes[4]["nats_per_token"]
    single = score(folders[:1], texts)["losses"]["mine windowed"]
    assert single["nats_per_token"] == pytest.approx(sizes[0]["nats_per_token"], abs=1e-6)
    assert {tuple(row["average"]["members"]) for row in result["benchmarks"]} == {(0,), (0, 1), (0, 1, 2), (0, 1, 2, 3)}
    print_result(result)
    printed = capsys.readouterr().out
    assert "mine windowed, logits of 4: " in printed
    assert "piqa (local, 12 items), probabilities of 4: acc " in printed


def test_models_trained_here_see_a_bos_before_a_prompt(folders, items):
    (member,) = load_members(folders[:1])
    assert member.begins_with_bos
    data = find_benchmark("piqa", source=str(items))
    (ours,) = ContinuedScoring([member], context_length=64).score_benchmarks([data])
    from megadocs.evaluate.benchmarks.score import score_benchmark
    from megadocs.evaluate.target_losses import SINGLE

    (with_bos,), (without,) = (
        score_benchmark([member.model], [SINGLE], member.tokenizer, data, add_bos=add_bos) for add_bos in (True, False)
    )
    assert ours.items == with_bos.items
    assert ours.items[0].log_likelihoods != without.items[0].log_likelihoods


def foreign_tokenizer(folder):
    """A tokenizer whose BOS is not ours and that puts none before a text, as SmolLM2's."""
    text = train_tokenizer([" ".join(WORDS)] * 2, 300).to_json()
    folder.mkdir()
    (folder / "tokenizer.json").write_text(text.replace("<|bos|>", "<s>").replace("<|eos|>", "</s>"))
    (folder / "tokenizer_config.json").write_text(json.dumps({"bos_token": "<s>", "eos_token": "</s>"}))
    return folder


def test_a_model_has_one_number_in_its_run_and_on_its_own(tmp_path, items, split_tokenizer):
    """bfloat16, a BOS that the tokenizer does not put, an attention boundary: scored on its own as in its run."""
    recipe = write_recipe(tmp_path / "toy.yaml", write_texts(tmp_path / "texts", 40), split_tokenizer)
    overrides = ["arms={simple: {stream.ordering: simple, mixture.synthetic_fraction: 0.75}}", "seeds=[0]"]
    overrides += ["train.dtype=bfloat16", "train.device=cpu", "stream.attention_boundary=document"]
    overrides += [f"tokenizer={{kind: load, source: {foreign_tokenizer(tmp_path / 'tokenizer')}}}"]
    overrides += ["evaluate.benchmarks=[piqa]", f"evaluate.benchmark_data={{piqa: {items}}}"]
    assert run(load_recipe(recipe, overrides), tmp_path / "ws").errors == []
    (evaluated,), (bench,) = records(tmp_path / "ws", "evaluate"), records(tmp_path / "ws", "benchmark")
    (trained,) = (tmp_path / "ws/train").glob("*")
    for source in (trained, trained / "model"):
        result = score([str(source)], None, sets={}, recipe=recipe, overrides=overrides, workspace=tmp_path / "ws",
                       benchmarks=[find_benchmark("piqa", source=str(items))], loading={"dtype": None, "device": "cpu"},
                       options={"context_length": None, "subsets": "prefixes"})  # fmt: skip
        (model,) = result["models"]
        assert (model["dtype"], model["begins_with_bos"], result["context_length"]) == ("bfloat16", True, 64)
        for name, of_run in evaluated["losses"].items():
            if name in result["losses"]:
                assert result["losses"][name]["nats_per_token"] == of_run["nats_per_token"], name
        assert {"test windowed", "test alone", "test windowed_across"} <= result["losses"].keys()
        assert [{**row, "seconds": 0} for row in result["benchmarks"]] == [
            {**row, "seconds": 0} for row in bench["results"]
        ]
    other = score([str(trained)], None, sets={}, recipe=recipe, overrides=overrides, workspace=tmp_path / "other")
    assert other["models"][0]["dtype"] == "float32"  # as the command line says
    assert other["losses"]["test alone"]["nats_per_token"] != evaluated["losses"]["test alone"]["nats_per_token"]


def records(workspace, step):
    return [json.loads(path.read_text())["summary"] for path in workspace.glob(f"{step}/*/record.json")]


def run(recipe, workspace):
    return run_experiment(recipe, workspace, stage="evaluate", num_slots=1)


def test_a_train_artifact_stands_for_its_model(folders, tmp_path):
    from pathlib import Path

    (tmp_path / "train").mkdir()
    Path(tmp_path / "train" / "model").symlink_to(folders[0])
    (inside,) = load_members([str(tmp_path / "train")])
    assert inside.weights_sha256 == load_members(folders[:1])[0].weights_sha256


def test_kept_results_are_served_to_the_same_model_only(folders, texts, tmp_path, monkeypatch):
    cache, sets = ScoreCache(tmp_path / "cache"), {"mine": set_of_source("mine", str(texts))}

    def losses(folder, **options):
        scoring = ContinuedScoring(load_members([folder]), cache=cache, **({"context_length": 64} | options))
        return [result.scores.nats_per_token for result in scoring.score_sets(sets)]

    first, other = losses(folders[0]), losses(folders[1])
    assert first != other
    monkeypatch.setattr("megadocs.pipeline.stages.scorer.Scorer.additional_set", None)  # computing again would fail
    assert losses(folders[0]) == first
    with pytest.raises(TypeError):
        losses(folders[0], context_length=32)


def test_what_does_not_fit_is_said(folders, texts, tmp_path):
    other = write_model(tmp_path / "other", 0, words=["quite", "another", "vocabulary"])
    with pytest.raises(InputError, match="another tokenizer than"):
        score([folders[0], other], texts)
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"nothing matches|no readable file"):
        score(folders[:1], texts, sets={"none": str(tmp_path / "empty")})
    with pytest.raises(InputError, match="neither a folder nor a model on the hub"):
        score([str(tmp_path / "nowhere")], texts)
    with pytest.raises(InputError, match="the model takes 64 tokens, not 128"):
        score(folders[:1], texts, options={"context_length": 128, "subsets": "prefixes"})
    with pytest.raises(UsageError, match="nothing to score on"):
        score(folders[:1], texts, sets={})


def test_a_tokenizer_too_large_for_its_model_is_refused(texts, tmp_path):
    folder = write_model(tmp_path / "m", 0)
    train_tokenizer([" ".join(WORDS)] * 4, 400).save(tmp_path / "m")
    with pytest.raises(InputError, match=r"the tokenizer has 3\d\d ids, the model 300"):
        score([folder], texts)
