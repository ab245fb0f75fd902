"""GGUF files of the Llama family: equal to the model they were written from; headers and contents that are none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from megadocs.errors import DamagedError, InputError, MegadocsError
from megadocs.model import build_model
from megadocs.model.gguf_import import import_gguf
from megadocs.recipe.training import ModelConfig

gguf = pytest.importorskip("gguf")

HEADS, KV_HEADS, HIDDEN, LAYERS, VOCABULARY, CONTEXT = 4, 2, 64, 2, 96, 128
FIELDS: dict[str, Any] = {
    "llama.attention.head_count": HEADS,
    "llama.attention.head_count_kv": KV_HEADS,
    "llama.embedding_length": HIDDEN,
    "llama.feed_forward_length": 96,
    "llama.block_count": LAYERS,
    "llama.context_length": CONTEXT,
    "llama.attention.layer_norm_rms_epsilon": 1e-5,
    "llama.rope.freq_base": 10_000.0,
}
NAMES = {
    "input_layernorm": "attn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "post_attention_layernorm": "ffn_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "model.embed_tokens": "token_embd",
    "model.norm": "output_norm",
    "lm_head": "output",
}


@pytest.fixture(scope="module")
def model():
    shape = {"hidden_size": HIDDEN, "intermediate_size": 96, "num_hidden_layers": LAYERS, "num_attention_heads": HEADS}
    config = ModelConfig(**shape, num_key_value_heads=KV_HEADS, tie_word_embeddings=False)
    return build_model(config, VOCABULARY, CONTEXT, seed=0)


def in_pairs(weight: torch.Tensor, heads: int) -> torch.Tensor:
    """Rows of each head as llama.cpp's converter writes them: the two halves interleaved."""
    return weight.view(heads, 2, -1, weight.shape[1]).transpose(1, 2).reshape(weight.shape)


def gguf_name(name: str) -> str:
    for theirs, ours in NAMES.items():
        if f"{theirs}." in name:
            in_layer = name.startswith("model.layers.")
            return f"blk.{name.split('.')[2]}.{ours}.weight" if in_layer else f"{ours}.weight"
    raise AssertionError(name)


def write(
    path: Path,
    model: Any,
    fields: dict[str, Any] | None = None,
    extra: dict[str, torch.Tensor] | None = None,
    architecture: str = "llama",
) -> Path:
    """A file of the model; `fields` replaces fields of the header (None: left out), `extra` tensors."""
    writer = gguf.GGUFWriter(path, architecture)
    for name, value in {**FIELDS, **(fields or {})}.items():
        if isinstance(value, float):
            writer.add_float32(name, value)
        elif isinstance(value, list):
            writer.add_array(name, value)
        elif isinstance(value, str):
            writer.add_string(name, value)
        elif value is not None:
            writer.add_uint32(name, value)
    tensors = {}
    for name, weight in model.named_parameters():
        ours = gguf_name(name)
        heads = {"attn_q": HEADS, "attn_k": KV_HEADS}.get(ours.split(".")[-2])
        tensors[ours] = weight.detach() if heads is None else in_pairs(weight.detach(), heads)
    for name, tensor in {**tensors, **(extra or {})}.items():
        writer.add_tensor(name, tensor.contiguous().numpy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def test_a_file_is_the_model_that_it_was_written_from(model, tmp_path):
    got = import_gguf(write(tmp_path / "m.gguf", model))
    expected = dict(model.named_parameters())
    assert {name: weight.shape for name, weight in got.named_parameters()} == {
        name: weight.shape for name, weight in expected.items()
    }
    for name, weight in got.named_parameters():
        assert torch.equal(weight, expected[name].detach()), name
    tokens = torch.arange(20).unsqueeze(0)
    torch.testing.assert_close(got(tokens), model(tokens).detach(), rtol=1e-5, atol=1e-5)


def test_biases_of_queries_are_named_not_rearranged(model, tmp_path):
    """A plain Llama has none: the file is another model, and rearranging a bias would end in a traceback."""
    path = write(tmp_path / "m.gguf", model, extra={"blk.0.attn_q.bias": torch.zeros(HIDDEN)})
    with pytest.raises(DamagedError, match=r"1 weights .*self_attn\.q_proj\.bias"):
        import_gguf(path)


@pytest.mark.parametrize(
    "name, value",
    [
        ("llama.attention.head_count", 0),
        ("llama.attention.head_count", [4, 4]),
        ("llama.attention.head_count", "four"),
        ("llama.attention.head_count", None),
        ("llama.attention.head_count_kv", 0),
        ("llama.attention.head_count_kv", 3),
        ("llama.attention.key_length", 0),
        ("llama.attention.key_length", 7),
        ("llama.embedding_length", 0),
        ("llama.block_count", 0),
        ("llama.block_count", 4_000_000),
        ("llama.context_length", 4_000_000_000),
        ("llama.attention.layer_norm_rms_epsilon", "small"),
    ],
)
def test_a_header_that_cannot_be_is_one_message(model, tmp_path, name, value):
    path = write(tmp_path / "m.gguf", model, {name: value})
    with pytest.raises(InputError, match="the header lacks or misstates") as caught:
        import_gguf(path)
    assert caught.value.where == str(path)
    assert "llamacpp" in str(caught.value.remedy)


@pytest.mark.parametrize("name, value", [("llama.embedding_length", 32), ("llama.attention.head_count", 32)])
def test_a_header_of_another_model_names_weights(model, tmp_path, name, value):
    with pytest.raises(DamagedError, match="of another shape"):
        import_gguf(write(tmp_path / "m.gguf", model, {name: value}))


@pytest.mark.parametrize("architecture, fields", [("qwen2", {}), ("llama", {"llama.expert_count": 8})])
def test_other_families_are_refused(model, tmp_path, architecture, fields):
    with pytest.raises(InputError, match="not a plain Llama"):
        import_gguf(write(tmp_path / "m.gguf", model, fields, architecture=architecture))


def test_a_file_cut_anywhere_is_one_message(model, tmp_path):
    whole = write(tmp_path / "m.gguf", model).read_bytes()
    path = tmp_path / "cut.gguf"
    for length in [*range(0, 60), *range(60, len(whole), len(whole) // 40), len(whole) - 1]:
        path.write_bytes(whole[:length])
        with pytest.raises(MegadocsError):
            import_gguf(path)


@pytest.mark.filterwarnings("ignore:Initializing zero-element tensors")
def test_damaged_headers_never_end_in_a_traceback(model, tmp_path):
    """Bytes of the header's beginning and of the table of tensors, set to 0 and to 255 (all 596 were tried once)."""
    whole = write(tmp_path / "m.gguf", model).read_bytes()
    path, table = tmp_path / "damaged.gguf", whole.index(b"token_embd.weight")
    for place in [*range(4, 400, 11), *range(table, table + 200, 7)]:
        for value in (0, 255):
            path.write_bytes(whole[:place] + bytes([value]) + whole[place + 1 :])
            try:
                import_gguf(path)
            except MegadocsError:
                continue
