"""Folders in, folders out: round trip, transformers' own files, shards, refusals."""

from __future__ import annotations

import json

import pytest
import torch

from megadocs.errors import DamagedError, InputError
from megadocs.model import build_model, export_hf, import_hf
from megadocs.recipe.training import ModelConfig

TOKENS = torch.randint(0, 60, (2, 16), generator=torch.Generator().manual_seed(0))


def exported(path, **changes):
    shape = {"hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 4}
    model = build_model(ModelConfig(**(shape | changes)), 60, 16, seed=0)
    export_hf(model, path)
    return model


@pytest.mark.parametrize("changes", [{}, {"num_key_value_heads": 2}, {"tie_word_embeddings": True}])
def test_round_trip_is_exact(tmp_path, changes):
    model = exported(tmp_path / "m", **changes)
    again = import_hf(tmp_path / "m")
    assert again.config == model.config
    assert torch.equal(again(TOKENS), model(TOKENS))
    assert (again.lm_head.weight is again.model.embed_tokens.weight) == bool(changes.get("tie_word_embeddings"))


@pytest.mark.parametrize("shard", ["10GB", "50KB"])
@pytest.mark.parametrize("tied", [True, False])
def test_reads_what_transformers_writes(tmp_path, shard, tied):
    from transformers import LlamaConfig, LlamaForCausalLM

    rope = {
        "rope_type": "llama3",
        "rope_theta": 1e5,
        "factor": 8.0,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 32,
    }
    config = LlamaConfig(
        vocab_size=60, hidden_size=64, intermediate_size=96, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=64, rope_parameters=rope, tie_word_embeddings=tied,
    )  # fmt: skip
    torch.manual_seed(0)
    reference = LlamaForCausalLM(config).float().eval()
    reference.save_pretrained(tmp_path / "m", max_shard_size=shard)
    model = import_hf(tmp_path / "m")
    with torch.no_grad():
        assert torch.allclose(model(TOKENS), reference(TOKENS).logits, atol=1e-5)


def edit_config(folder, **changes):
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"model_type": "gpt2"}, "'gpt2' is not of the Llama family"),
        ({"attention_bias": True}, "attention_bias"),
        ({"rope_parameters": {"rope_type": "yarn", "factor": 2.0}}, "'yarn' is not supported"),
        ({"hidden_size": "wide"}, "not a Llama's"),
    ],
)
def test_other_models_are_refused_by_name(tmp_path, changes, words):
    exported(tmp_path / "m")
    edit_config(tmp_path / "m", **changes)
    with pytest.raises(InputError, match=words):
        import_hf(tmp_path / "m")


def test_a_context_beyond_the_models_is_refused(tmp_path):
    exported(tmp_path / "m")
    with pytest.raises(InputError, match="made for 16 positions"):
        import_hf(tmp_path / "m", context_length=17)


def test_missing_truncated_or_foreign_weights(tmp_path):
    exported(tmp_path / "m")
    weights = tmp_path / "m/model.safetensors"
    data = weights.read_bytes()
    weights.write_bytes(data[:-100])
    with pytest.raises(DamagedError, match="whole safetensors"):
        import_hf(tmp_path / "m")
    weights.unlink()
    with pytest.raises(InputError, match="pickled"):
        import_hf(tmp_path / "m")
    weights.write_bytes(data)
    edit_config(tmp_path / "m", num_hidden_layers=3)
    with pytest.raises(DamagedError, match=r"9 weights are missing.*layers\.2"):
        import_hf(tmp_path / "m")
    with pytest.raises(InputError, match="no model is here"):
        import_hf(tmp_path / "nowhere")
