"""Folders of the Llama family and of others, each with its own tokenizer, scored alike and told apart."""

from __future__ import annotations

import json

import pytest
import torch

from megadocs.documents import Document
from megadocs.errors import DamagedError, InputError
from megadocs.evaluate.document_losses import score_documents
from megadocs.evaluate.evaluation_set import build_evaluation_set
from megadocs.evaluate.load_model import load_model
from megadocs.model.pretrained import weights_digest
from megadocs.store.files import file_sha256
from megadocs.text.tokenizer import train_tokenizer

TEXT = "The committee met on Tuesday and settled the matter without a vote."


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer([TEXT] * 4, 280)


@pytest.fixture
def folder(tmp_path, tokenizer, make_llama):
    make_llama(1, vocab_size=tokenizer.vocab_size).save_pretrained(tmp_path / "model")
    tokenizer.save(tmp_path / "model")
    return tmp_path / "model"


def test_a_llama_folder_scores_as_transformers_does(folder, tokenizer):
    from transformers import LlamaForCausalLM

    loaded = load_model(str(folder))
    data = build_evaluation_set("t", [Document("a", TEXT)], loaded.tokenizer)
    scores = score_documents(loaded.model, data, context_length=64)
    tokens = torch.from_numpy(data.rows[0].astype("int64"))[None]
    with torch.no_grad():
        expected = LlamaForCausalLM.from_pretrained(folder)(tokens, labels=tokens).loss.item()
    assert scores.nats_per_token == pytest.approx(expected, abs=1e-5)
    assert loaded.identity()["tokenizer"] == tokenizer.fingerprint


def test_another_family_runs_in_transformers(tmp_path, tokenizer):
    from transformers import GPT2Config, GPT2LMHeadModel

    torch.manual_seed(0)
    config = GPT2Config(vocab_size=tokenizer.vocab_size, n_positions=64, n_embd=16, n_layer=1, n_head=2)
    model = GPT2LMHeadModel(config).eval()
    model.save_pretrained(tmp_path / "gpt2")
    tokenizer.save(tmp_path / "gpt2")
    loaded = load_model(str(tmp_path / "gpt2"))
    data = build_evaluation_set("t", [Document("a", TEXT)], loaded.tokenizer)
    tokens = torch.from_numpy(data.rows[0].astype("int64"))[None]
    with torch.no_grad():
        expected = model(tokens, labels=tokens).loss.item()
    assert score_documents(loaded.model, data, context_length=64).nats_per_token == pytest.approx(expected, abs=1e-5)


def test_one_changed_weight_is_another_model(folder, make_llama, tokenizer):
    before = weights_digest(folder)
    model = make_llama(1, vocab_size=tokenizer.vocab_size)
    with torch.no_grad():
        model.lm_head.weight[0, 0] += 1e-3
    model.save_pretrained(folder)
    assert weights_digest(folder) != before


def test_bad_folders(tmp_path, folder, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="no model is here"):
        load_model(str(tmp_path / "empty"))
    with pytest.raises(InputError, match="neither a folder nor a model on the hub"):
        load_model("nobody/nothing-of-this-name")
    train_tokenizer([TEXT, TEXT.upper(), TEXT.title() * 3] * 4, 400).save(folder)
    with pytest.raises(InputError, match=r"the tokenizer has \d+ ids, the model 280"):
        load_model(str(folder))


@pytest.mark.parametrize("changes", [{"num_hidden_layers": 10**9}, {"model_type": "gpt2", "n_layer": 10**9}])
def test_layers_without_an_end_are_refused_at_once(folder, changes):
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    with pytest.raises(DamagedError, match="is 1,000,000,000") as error:
        load_model(str(folder))
    assert error.value.where == str(path)


@pytest.mark.parametrize("content", ["[" * 100_000, "[1]", "null", "{"])
def test_what_is_no_configuration_is_named(folder, content):
    (folder / "config.json").write_text(content)
    with pytest.raises(DamagedError, match=r"not JSON|not a model's configuration"):
        load_model(str(folder))


def test_more_layers_than_weights_are_refused_before_they_are_built(folder):
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"num_hidden_layers": 5000}))
    with pytest.raises(DamagedError, match="5,000 layers, the weights are"):
        load_model(str(folder))


def test_cut_weights_are_named_with_a_remedy(folder):
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:100])
    with pytest.raises(DamagedError, match="not a whole safetensors file") as error:
        load_model(str(folder))
    assert error.value.where == str(weights)
    assert "download the model again" in str(error.value.remedy)


def test_a_device_that_is_not_there(folder, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(InputError, match="PyTorch sees no GPU") as error:
        load_model(str(folder), device="cuda")
    assert error.value.where == "--device cuda"


def test_a_train_artifact_with_another_tokenizer_is_refused(folder, tmp_path):
    artifact = tmp_path / "train" / "ab"
    artifact.mkdir(parents=True)
    folder = folder.rename(artifact / "model")
    files = {
        f"model/{path.name}": {"bytes": path.stat().st_size, "sha256": file_sha256(path)} for path in folder.iterdir()
    }
    (artifact / "record.json").write_text(json.dumps({"files": files}))
    assert load_model(str(artifact)).weights_sha256 == load_model(str(folder)).weights_sha256
    text = (folder / "tokenizer.json").read_text()
    (folder / "tokenizer.json").write_text(text.replace('"Ġ', '"Ł', 1))
    for source in (artifact, folder):
        with pytest.raises(DamagedError, match=r"tokenizer\.json"):
            load_model(str(source))
