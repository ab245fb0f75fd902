"""Going on from a model: its weights and tokenizer, refusals; extras of the loop that a whole run shows."""

from __future__ import annotations

import json

import pytest
import torch
from safetensors.torch import load_file

from megadocs.errors import InputError
from megadocs.model import build_model, export_hf
from megadocs.recipe.training import ModelConfig
from megadocs.text.tokenizer import train_tokenizer
from megadocs.train.metrics_log import read_metrics
from megadocs.train.student import build_student
from train.runs import MODEL, VOCAB, train, train_config


@pytest.fixture
def pretrained(tmp_path):
    tokenizer = tmp_path / "tokenizer.json"
    tokenizer.write_text('{"version": "1.0"}')
    model = build_model(MODEL.model_copy(update={"tie_word_embeddings": True}), VOCAB, 32, seed=9)
    return export_hf(model, tmp_path / "pretrained", tokenizer_files=[tokenizer], bos_id=3)


def test_a_run_goes_on_from_a_folder_and_takes_its_tokenizer_along(tmp_path, pretrained):
    config = train_config(learning_rate=1e-12)
    train(tmp_path / "run", config=config, recipe_model=ModelConfig(init_from=str(pretrained)))
    before, after = (load_file(folder / "model.safetensors") for folder in (pretrained, tmp_path / "run/model"))
    assert before.keys() == after.keys()
    assert all(torch.allclose(before[name], after[name], atol=1e-9) for name in before)
    assert (tmp_path / "run/model/tokenizer.json").read_text() == '{"version": "1.0"}'
    assert json.loads((tmp_path / "run/model/config.json").read_text())["tie_word_embeddings"]


def test_an_export_keeps_all_that_the_pretrained_folder_says(tmp_path):
    """Several EOS, padding, the chat template and the longest text go along with the model's own tokenizer."""
    tokenizer = train_tokenizer(["some words to train on"] * 3, 270)
    origin = export_hf(build_model(MODEL, tokenizer.vocab_size, 32, seed=9), tmp_path / "chat")
    tokenizer.save(origin)
    edit = lambda name, **more: (origin / name).write_text(json.dumps(json.loads((origin / name).read_text()) | more))  # noqa: E731
    edit("config.json", eos_token_id=[1, 5], pad_token_id=7)
    edit("generation_config.json", eos_token_id=[1, 5], temperature=0.6)
    edit("tokenizer_config.json", model_max_length=32, chat_template="{{ messages }}", pad_token="<|eos|>")
    (origin / "chat_template.jinja").write_text("{{ messages }}")
    student = build_student(ModelConfig(init_from=str(origin)), train_config(), vocab_size=270, seed=0)
    tokenizer.save(tmp_path / "artifact")
    files, kept = student.exported_files(sorted((tmp_path / "artifact").glob("tokenizer*.json")))
    out = export_hf(student.model, tmp_path / "out", tokenizer_files=files, bos_id=0, eos_id=1, origin=kept)
    for name in ("generation_config.json", "tokenizer_config.json", "chat_template.jinja", "tokenizer.json"):
        assert (out / name).read_bytes() == (origin / name).read_bytes()
    config = json.loads((out / "config.json").read_text())
    assert (config["eos_token_id"], config["pad_token_id"]) == ([1, 5], 7)


def test_with_another_tokenizer_what_is_left_out_is_said(tmp_path, caplog):
    tokenizer = train_tokenizer(["some words to train on"] * 3, 270)
    origin = export_hf(build_model(MODEL, tokenizer.vocab_size, 32, seed=9), tmp_path / "chat")
    tokenizer.save(origin)
    (origin / "chat_template.jinja").write_text("{{ messages }}")
    student = build_student(ModelConfig(init_from=str(origin)), train_config(), vocab_size=260, seed=0)
    train_tokenizer(["other text altogether"] * 3, 262).save(tmp_path / "artifact")
    own = sorted((tmp_path / "artifact").glob("tokenizer*.json"))
    assert student.exported_files(own) == (own, None)
    assert "chat_template.jinja" in caplog.text


@pytest.mark.parametrize(
    "error, words, model, vocab_size",
    [
        (InputError, "has 65 tokens, the model 64", {}, 65),
        (ValueError, "remove model.num_hidden_layers, or remove model.init_from", {"num_hidden_layers": 3}, VOCAB),
        (InputError, "no such folder", {"init_from": "/nowhere/at/all"}, VOCAB),
    ],
)
def test_what_does_not_fit_is_refused(pretrained, error, words, model, vocab_size):
    with pytest.raises(error, match=words):
        recipe_model = ModelConfig(**({"init_from": str(pretrained)} | model))
        build_student(recipe_model, train_config(), vocab_size=vocab_size, seed=0)


def test_averaged_weights_are_exported_and_survive_a_resume(tmp_path):
    config = train_config(ema_decay=0.9, masked_input_fraction=0.2, weight_decay_schedule="linear_to_zero")

    class Stop(Exception):
        pass

    def stop(step):
        from train.runs import read_random

        if step == 7:
            raise Stop
        return read_random(step)

    train(tmp_path / "whole", config=config)
    with pytest.raises(Stop):
        train(tmp_path / "broken", config=config, read_batch=stop)
    train(tmp_path / "broken", config=config)
    whole, broken = (tmp_path / name / "model/model.safetensors" for name in ("whole", "broken"))
    assert whole.read_bytes() == broken.read_bytes()
    newest = load_file(max((tmp_path / "whole/checkpoints").iterdir()) / "tensors.safetensors")
    exported = load_file(whole)
    assert torch.equal(exported["lm_head.weight"], newest["ema.lm_head.weight"])
    assert not torch.equal(exported["lm_head.weight"], newest["weight.lm_head.weight"])
    assert [record["weight_decay"] for record in read_metrics(tmp_path / "whole/metrics.jsonl")][::6] == [0.8, 0.4]


def test_a_run_announces_its_plan(tmp_path):
    plans = []
    summary = train(tmp_path / "run", announce=plans.append)
    assert plans[0].num_tokens == summary.num_tokens == 12 * 64
    assert plans[0].num_tokens * plans[0].flops_per_token == summary.flops
    assert plans[0].matmul_flops_per_second > 1e8
    assert "12 steps of 64 tokens = 768 tokens" in plans[0].text()
