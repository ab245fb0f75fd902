"""Folders in, folders out: round trip, transformers' own files, shards, refusals."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from megadocs.errors import DamagedError, InputError, MegadocsError
from megadocs.model import build_model, export_hf, import_hf
from megadocs.model.hf_import import read_config
from megadocs.recipe.training import ModelConfig

TOKENS = torch.randint(0, 60, (2, 16), generator=torch.Generator().manual_seed(0))

EVERY_KEY = {
    "model_type": "llama",
    "vocab_size": 60,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 1,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": 64,
    "rms_norm_eps": 1e-5,
    "hidden_act": "silu",
    "rope_theta": 1e4,
    "rope_scaling": {"rope_type": "linear", "factor": 2.0},
    "tie_word_embeddings": False,
    "attention_bias": False,
    "mlp_bias": False,
    "dtype": "float32",
}


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


@pytest.mark.parametrize("text", ["", "{", "[]", "3", '{"weight_map": 5}', '{"weight_map": {"a": 5}}', "{}"])
def test_a_broken_index_is_named(tmp_path, text):
    exported(tmp_path / "m")
    (tmp_path / "m" / "model.safetensors").unlink()
    (tmp_path / "m" / "model.safetensors.index.json").write_text(text)
    with pytest.raises(MegadocsError) as error:
        import_hf(tmp_path / "m")
    assert str(tmp_path / "m") in str(error.value.where)


def test_whole_numbers_are_no_weights(tmp_path):
    from safetensors.torch import load_file, save_file

    exported(tmp_path / "m")
    path = tmp_path / "m" / "model.safetensors"
    tensors = load_file(path)
    tensors["model.norm.weight"] = torch.ones(64, dtype=torch.int8)
    save_file(tensors, path)
    with pytest.raises(DamagedError, match=r"model\.norm\.weight holds no floating-point"):
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


@st.composite
def llama_settings(draw):
    """A `config.json` of a plain Llama as somebody may have written it: older spellings, absent keys, every RoPE."""
    heads, kv_heads = draw(st.sampled_from([(4, 4), (4, 2), (4, 1), (2, 2), (1, 1)]))
    width = draw(st.sampled_from([4, 8]))
    settings = {
        "model_type": "llama",
        "vocab_size": 60,
        "hidden_size": 32,
        "intermediate_size": draw(st.sampled_from([24, 48])),
        "num_hidden_layers": draw(st.integers(1, 3)),
        "num_attention_heads": heads,
        "tie_word_embeddings": draw(st.booleans()),
    }
    optional = {
        "num_key_value_heads": kv_heads,
        "head_dim": width,
        "rms_norm_eps": draw(st.sampled_from([1e-6, 1e-5, 1e-2])),
        "max_position_embeddings": draw(st.sampled_from([16, 64])),
        "hidden_act": draw(st.sampled_from(["silu", "swish"])),
        "rope_theta": draw(st.sampled_from([100.0, 1e4, 5e5])),
        "eos_token_id": draw(st.sampled_from([2, [2, 5]])),
        "pad_token_id": 0,
        "pretraining_tp": 1,
    }
    settings |= {name: value for name, value in optional.items() if draw(st.booleans())}
    kind = draw(st.sampled_from([None, "default", "linear", "llama3"]))
    if kind is not None:
        rope = {draw(st.sampled_from(["type", "rope_type"])): kind}
        if kind != "default":
            rope["factor"] = draw(st.sampled_from([2.0, 4.0]))
        if kind == "llama3":
            rope |= {"low_freq_factor": 1.0, "high_freq_factor": 4.0}
            if draw(st.booleans()):
                rope["original_max_position_embeddings"] = 8
        settings[draw(st.sampled_from(["rope_scaling", "rope_parameters"]))] = rope
    return settings


@given(llama_settings())
def test_import_export_import_and_transformers_are_one_model(settings):
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    reference = LlamaForCausalLM(LlamaConfig.from_dict(dict(settings))).float().eval()
    with torch.no_grad():
        for parameter in reference.parameters():
            parameter.normal_(1.0 if parameter.dim() == 1 else 0.0, 0.3)
        expected = reference(TOKENS).logits
    with tempfile.TemporaryDirectory() as folder:
        first, second = Path(folder) / "first", Path(folder) / "second"
        reference.save_pretrained(first)
        (first / "config.json").write_text(json.dumps(settings))  # as it was written, not as transformers saves it
        model = import_hf(first)
        export_hf(model, second, origin=first)
        again = import_hf(second)
        saved = LlamaForCausalLM.from_pretrained(second).float().eval()
        with torch.no_grad():
            for found in (model(TOKENS), again(TOKENS), saved(TOKENS).logits):
                # float32 in another order of sums: both are up to 2e-5 from the same logits in float64
                assert torch.allclose(found, expected, atol=1e-4)
        assert again.config == model.config
        kept = json.loads((second / "config.json").read_text())
        assert {name: kept[name] for name in ("eos_token_id", "pad_token_id") if name in settings} == {
            name: settings[name] for name in ("eos_token_id", "pad_token_id") if name in settings
        }


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=5,
)


@given(st.sampled_from(sorted(EVERY_KEY)), JSON)
def test_any_value_of_a_configuration_is_read_or_refused_in_one_message(key, value):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "config.json"
        path.write_text(json.dumps(EVERY_KEY | {key: value}))
        try:
            config = read_config(Path(folder))
        except MegadocsError as error:
            assert "\n" not in error.what  # noqa: PT017
        else:
            assert config.num_parameters > 0
