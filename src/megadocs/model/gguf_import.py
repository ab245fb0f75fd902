"""A model of the Llama family from a GGUF file: header, names and layout are ours, de-quantising is the package gguf's.

    model = import_gguf(path)

Contents are read through a memory map, tensor by tensor, de-quantised to float32. Two things are written otherwise than
in a Hugging Face folder and are put back: the rows of query and key projections (rotating pairs side by side), and the
wavelengths of Llama 3.1 and later (a divisor for each frequency).
"""

from __future__ import annotations

import importlib.util
import math
import mmap
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from megadocs.errors import DamagedError, EngineError, InputError
from megadocs.model.config import LlamaConfig
from megadocs.model.hf_import import fill_model
from megadocs.model.llama import Llama
from megadocs.text.gguf_file import GgufHeader, StoredTensor, read_header

_ELSE = "use generate.engine.kind=llamacpp, which reads it, or a Hugging Face folder of the model"
_LAYER_NAMES = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
_NAMES = {"token_embd": "model.embed_tokens", "output_norm": "model.norm", "output": "lm_head"}
#: Divisors of the rotary frequencies; no weight of the model.
_ROPE_FACTORS = "rope_freqs.weight"
#: Of anything that a header counts: the file is somebody else's, and positions, say, are memory.
_MAX_COUNT = 1 << 24


def import_gguf(path: Path) -> Llama:
    """The model in a file, float32, on the CPU.

    Raises:
        InputError: not a GGUF file, another family, a quantisation that cannot be read.
        DamagedError: a weight is missing, extra, of the wrong shape, or beyond the file's end.
        EngineError: the package gguf is not installed.
    """
    if importlib.util.find_spec("gguf") is None:
        raise EngineError("GGUF files are de-quantised with a package that is not here", remedy="pip install gguf")
    header = read_header(path)
    with path.open("rb") as file:
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    contents = np.frombuffer(mapped, dtype=np.uint8)  # np.memmap would run Python code for every slice: a second
    factors = header.tensors.get(_ROPE_FACTORS)
    divisors = None if factors is None else _read(factors, _ROPE_FACTORS, contents, path).tolist()
    config = _to_config(header, path, divisors)
    tensors: dict[str, Tensor] = {}
    for name, stored in header.tensors.items():
        if name == _ROPE_FACTORS:
            continue
        weight = torch.from_numpy(_read(stored, name, contents, path))
        if name.endswith((".attn_q.weight", ".attn_k.weight")):
            heads = config.num_attention_heads if ".attn_q." in name else config.num_key_value_heads
            weight = _halved(weight, heads)
        tensors[_hf_name(name)] = weight
    return fill_model(config, tensors, path, take=True)


def _to_config(header: GgufHeader, path: Path, divisors: list[float] | None) -> LlamaConfig:
    fields = header.fields
    family = fields.get("general.architecture")
    if family != "llama" or fields.get("llama.expert_count"):
        kind = f"{family!r}" if family != "llama" else "'llama' with experts"
        raise InputError(f"a model of the family {kind} is not a plain Llama", where=str(path), remedy=_ELSE)
    try:
        heads, hidden = _count(fields, "llama.attention.head_count"), _count(fields, "llama.embedding_length")
        kv_heads = _count(fields, "llama.attention.head_count_kv", heads)
        head_dim = _count(fields, "llama.attention.key_length", hidden // heads)
        num_layers = _count(fields, "llama.block_count")
        if heads % kv_heads or head_dim % 2 or num_layers > len(header.tensors):
            raise ValueError(f"{heads} heads of {head_dim}, {kv_heads} of keys, {num_layers} layers")
        return LlamaConfig(
            vocab_size=header.tensors["token_embd.weight"].shape[0],
            hidden_size=hidden,
            intermediate_size=_count(fields, "llama.feed_forward_length"),
            num_hidden_layers=num_layers,
            num_attention_heads=heads,
            num_key_value_heads=kv_heads,
            head_dim=head_dim,
            max_position_embeddings=_count(fields, "llama.context_length"),
            rope_theta=float(fields.get("llama.rope.freq_base", 10_000.0)),
            rope_scaling=_rope_scaling(fields, divisors),
            rms_norm_eps=float(fields["llama.attention.layer_norm_rms_epsilon"]),
            tie_word_embeddings="output.weight" not in header.tensors,
        )
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise InputError(f"the header lacks or misstates {error}", where=str(path), remedy=_ELSE) from error


def _count(fields: Mapping[str, Any], name: str, default: int | None = None) -> int:
    """A field that counts something; 0 and a list (a number a layer) are no count of a plain Llama."""
    value = fields[name] if default is None else fields.get(name, default)
    if not isinstance(value, int) or not 0 < value <= _MAX_COUNT:
        raise ValueError(f"{name}: {value!r}"[:200])
    return value


def _rope_scaling(fields: Mapping[str, Any], divisors: list[float] | None) -> dict[str, Any] | None:
    if divisors is not None:
        return {"rope_type": "divided", "factors": divisors}
    kind = fields.get("llama.rope.scaling.type", "none")
    if kind == "none":
        return None
    return {"rope_type": kind, "factor": float(fields.get("llama.rope.scaling.factor", 1.0))}


def _hf_name(name: str) -> str:
    """`blk.3.attn_q.weight` as `model.layers.3.self_attn.q_proj.weight`; unknown names stay and are refused."""
    stem, _, suffix = name.rpartition(".")
    if stem in _NAMES:
        return f"{_NAMES[stem]}.{suffix}"
    parts = stem.split(".")
    if len(parts) == 3 and parts[0] == "blk" and parts[2] in _LAYER_NAMES:
        return f"model.layers.{parts[1]}.{_LAYER_NAMES[parts[2]]}.{suffix}"
    return name


def _read(stored: StoredTensor, name: str, contents: np.ndarray[Any, Any], path: Path) -> np.ndarray[Any, Any]:
    """A tensor, float32."""
    from gguf import GGML_QUANT_SIZES, GGMLQuantizationType
    from gguf.quants import dequantize

    try:
        kind = GGMLQuantizationType(stored.type_number)
        block, block_bytes = GGML_QUANT_SIZES[kind]
    except (ValueError, KeyError) as error:
        raise InputError(f"{name} is stored in an unknown type {stored.type_number}", where=str(path)) from error
    *rows, width = stored.shape
    shape = (*rows, width // block * block_bytes)
    stop = stored.offset + math.prod(shape)
    if width % block or stop > len(contents):
        raise DamagedError(f"{name} goes beyond the file's end", where=str(path), remedy="copy or download it again")
    try:
        values = dequantize(contents[stored.offset : stop].reshape(shape), kind)
    except NotImplementedError as error:
        raise InputError(
            f"{name}: the quantisation {kind.name} cannot be read", where=str(path), remedy=_ELSE
        ) from error
    return np.array(values, dtype=np.float32).reshape(
        stored.shape
    )  # a copy: float32 files would stay mapped, read-only


def _halved(weight: Tensor, heads: int) -> Tensor:
    """Rows with rotating pairs side by side, back to the two halves of each head; another shape is refused later."""
    if weight.ndim != 2 or weight.shape[0] % (2 * heads):
        return weight
    rows, columns = weight.shape
    return weight.view(heads, rows // (2 * heads), 2, columns).transpose(1, 2).reshape(rows, columns)
