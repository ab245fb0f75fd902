"""Read a Llama-family Hugging Face folder into a student.

    model = import_hf(directory)                       # from `export_hf`, from transformers, from the hub's cache

Read are `config.json` and safetensors (one file, or shards with their index); never pickled weights, never code from
the folder. Tied embeddings, grouped heads and the RoPE variants of `rope.py` are kept as they are. A model of another
family, or a Llama with biases, is refused by name, since dropping such a part would quietly give another model.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from megadocs.errors import DamagedError, InputError
from megadocs.model.config import LlamaConfig
from megadocs.model.llama import Llama

#: Model types whose forward pass is exactly Llama's.
FAMILY = ("llama",)
_MAX_CONFIG_BYTES = 1 << 20
#: The rotation's tables hold every position: 4 GB at this many, width 64.
_MAX_POSITIONS = 1 << 23


def import_hf(directory: Path, *, context_length: int | None = None) -> Llama:
    """The model in a folder, float32, on the CPU.

    Args:
        directory: folder with `config.json` and safetensors.
        context_length: longest window it will see; none: the folder's own maximum.

    Raises:
        InputError: nothing there, another family, pickled weights only, or a context beyond the model's.
        DamagedError: a weight is missing, extra or of the wrong shape, or a file is truncated.
    """
    directory = Path(directory)
    config = read_config(directory, context_length=context_length)
    with torch.device("meta"):
        model = Llama(config)
    model.to_empty(device="cpu")
    model.reset_rope()
    tensors = _read_tensors(directory)
    if config.tie_word_embeddings:
        tensors.pop("lm_head.weight", None)
        model.lm_head.weight = model.model.embed_tokens.weight
    expected = dict(model.named_parameters())
    wrong = sorted(expected.keys() ^ tensors.keys())
    wrong += sorted(name for name in expected.keys() & tensors.keys() if expected[name].shape != tensors[name].shape)
    if wrong:
        raise DamagedError(
            f"{len(wrong)} weights are missing, extra or of another shape: {', '.join(wrong[:5])}",
            where=str(directory),
            remedy="check that config.json and the weights belong together",
        )
    with torch.no_grad():
        for name, parameter in expected.items():
            parameter.copy_(tensors[name])
    return model


def read_config(directory: Path, *, context_length: int | None = None) -> LlamaConfig:
    """The shape in `config.json`, for windows of at most `context_length`."""
    path = Path(directory) / "config.json"
    if not path.is_file():
        raise InputError("no model is here", where=str(path), remedy="give a Hugging Face folder with config.json")
    if path.stat().st_size > _MAX_CONFIG_BYTES:
        raise InputError("config.json is larger than 1 MB", where=str(path))
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
        _refuse_others(raw, path)
        return _to_config(raw, path, context_length)
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"config.json is not a Llama's: {type(error).__name__} {error}", where=str(path), remedy="check the folder"
        ) from error


def _refuse_others(raw: dict[str, Any], path: Path) -> None:
    if raw.get("model_type") not in FAMILY:
        raise InputError(
            f"model type {raw.get('model_type')!r} is not of the Llama family",
            where=str(path),
            remedy="use a model with model_type 'llama' (Llama 2 and 3, SmolLM, TinyLlama)",
        )
    odd = [key for key in ("attention_bias", "mlp_bias") if raw.get(key)]
    if odd or raw.get("hidden_act", "silu") != "silu":
        raise InputError(f"not a plain Llama: {', '.join(odd) or raw['hidden_act']}", where=str(path))


def _to_config(raw: dict[str, Any], path: Path, context_length: int | None) -> LlamaConfig:
    rope = {**(raw.get("rope_scaling") or {}), **(raw.get("rope_parameters") or {})}
    theta = rope.pop("rope_theta", raw.get("rope_theta", 10_000.0))
    kind = rope.get("rope_type", rope.get("type", "default"))
    longest = int(raw["max_position_embeddings"])
    if not 0 < longest <= _MAX_POSITIONS:
        raise ValueError(f"max_position_embeddings is {longest}")
    if context_length is not None and context_length > longest:
        raise InputError(
            f"the model was made for {longest} positions, the recipe asks for {context_length}",
            where="train.context_length",
            remedy=f"use at most {longest}",
        )
    heads = int(raw["num_attention_heads"])
    return LlamaConfig(
        vocab_size=int(raw["vocab_size"]),
        hidden_size=int(raw["hidden_size"]),
        intermediate_size=int(raw["intermediate_size"]),
        num_hidden_layers=int(raw["num_hidden_layers"]),
        num_attention_heads=heads,
        num_key_value_heads=int(raw.get("num_key_value_heads") or heads),
        head_dim=int(raw.get("head_dim") or int(raw["hidden_size"]) // heads),
        max_position_embeddings=longest,
        rope_theta=float(theta),
        rope_scaling=None if kind == "default" else rope,
        rms_norm_eps=float(raw["rms_norm_eps"]),
        tie_word_embeddings=bool(raw.get("tie_word_embeddings", False)),
    )


def _read_tensors(directory: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    index = directory / "model.safetensors.index.json"
    names = ["model.safetensors"]
    if index.is_file():
        try:
            names = sorted(set(json.loads(index.read_bytes())["weight_map"].values()))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise DamagedError(
                f"not an index of weights: {type(error).__name__} {error}",
                where=str(index),
                remedy="copy or download the model again",
            ) from error
    tensors: dict[str, Tensor] = {}
    for name in names:
        path = directory / Path(name).name
        if not path.is_file():
            raise InputError(
                "weights are missing (safetensors only; pickled .bin files are never read)",
                where=str(path),
                remedy="convert the model to safetensors",
            )
        try:
            tensors.update(load_file(path))
        except SafetensorError as error:
            raise DamagedError(
                f"not a whole safetensors file: {error}", where=str(path), remedy="copy or download the model again"
            ) from error
    return {name: tensor for name, tensor in tensors.items() if not name.endswith("rotary_emb.inv_freq")}
