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
from megadocs.model.rope import ROPE_TYPES, rope_tables

#: Model types whose forward pass is exactly Llama's.
FAMILY = ("llama",)
_MAX_CONFIG_BYTES = 1 << 20
#: The rotation's tables hold every position: 4 GB at this many, width 64.
_MAX_POSITIONS = 1 << 23
_CHECK = "copy or download the model again"
_OTHERS = "other families write text with generate.engine.kind=llamacpp (GGUF) or kind=vllm"


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
    return fill_model(config, _read_tensors(directory), directory)


def fill_model(config: LlamaConfig, tensors: dict[str, Tensor], source: Path, *, take: bool = False) -> Llama:
    """A model of this shape with these weights, by Hugging Face's names; float32, on the CPU.

    Args:
        tensors: emptied on the way.
        take: the model takes float32 tensors as they are, where their memory is nobody else's (no mapped file), instead
            of copying them: 540 MB less while SmolLM2-135M is loaded.

    Raises:
        DamagedError: a weight is missing, extra, of the wrong shape or no floating-point tensor.
    """
    if config.num_hidden_layers > len(tensors):  # building so many, even without memory, may not end
        raise DamagedError(
            f"the configuration has {config.num_hidden_layers:,} layers, the weights are {len(tensors):,} tensors",
            where=str(source),
            remedy="check that the model's configuration and its weights belong together",
        )
    with torch.device("meta"):
        model = Llama(config)
    if config.tie_word_embeddings:
        tensors.pop("lm_head.weight", None)
        model.lm_head.weight = model.model.embed_tokens.weight
    expected = dict(model.named_parameters())  # without memory as yet: a false header may ask for any amount
    wrong = sorted(expected.keys() ^ tensors.keys())
    wrong += sorted(name for name in expected.keys() & tensors.keys() if expected[name].shape != tensors[name].shape)
    if wrong:
        raise DamagedError(
            f"{len(wrong)} weights are missing, extra or of another shape: {', '.join(wrong[:5])}",
            where=str(source),
            remedy="check that the model's configuration and its weights belong together",
        )
    if whole := sorted(name for name in expected if not tensors[name].is_floating_point()):
        raise DamagedError(f"{whole[0]} holds no floating-point numbers", where=str(source), remedy=_CHECK)
    weights: dict[str, Tensor] = {}
    for name in expected:
        weight = tensors.pop(name)
        weights[name] = weight.float() if take else weight.to(torch.float32, copy=True)
    model.load_state_dict(weights, strict=False, assign=True)  # a tied head is not among them
    if config.tie_word_embeddings:
        model.lm_head.weight = model.model.embed_tokens.weight
    model.reset_rope()
    return model


def read_config(directory: Path, *, context_length: int | None = None) -> LlamaConfig:
    """The shape in `config.json`, for windows of at most `context_length`.

    `config.json` is read as transformers reads it: its defaults for what is absent, its older spellings.
    """
    path = Path(directory) / "config.json"
    if not path.is_file():
        raise InputError("no model is here", where=str(path), remedy="give a Hugging Face folder with config.json")
    if path.stat().st_size > _MAX_CONFIG_BYTES:
        raise InputError("config.json is larger than 1 MB", where=str(path), remedy=_CHECK)
    try:
        raw = json.loads(path.read_bytes())
    except ValueError as error:
        raise DamagedError(f"config.json is not JSON: {error}", where=str(path), remedy=_CHECK) from error
    config, reason = _read(raw, str(path))
    if config is None:
        remedy = (
            f"use a model with model_type 'llama' and no such setting (Llama 2 and 3, SmolLM, TinyLlama); {_OTHERS}"
        )
        raise InputError(f"not a plain Llama: {reason}", where=str(path), remedy=remedy)
    longest = config.max_position_embeddings
    if context_length is not None and context_length > longest:
        raise InputError(
            f"the model was made for {longest} positions, the recipe asks for {context_length}",
            where="train.context_length",
            remedy=f"use at most {longest}",
        )
    return config


def is_plain_llama(raw: dict[str, Any]) -> bool:
    """Whether a `config.json` describes a model whose forward pass is exactly that of `Llama` here.

    Raises:
        InputError: it says that it is a Llama and transformers cannot read it.
    """
    return raw.get("model_type") in FAMILY and _read(raw, "config.json")[0] is not None


def _read(raw: Any, where: str) -> tuple[LlamaConfig | None, str]:
    """The shape; or None and what makes the model another one than `Llama` here."""
    from transformers import LlamaConfig as HfConfig

    kind = raw.get("model_type") if isinstance(raw, dict) else None
    if kind not in FAMILY:
        remedy = f"use a model with model_type 'llama' (Llama 2 and 3, SmolLM, TinyLlama); {_OTHERS}"
        raise InputError(f"model type {kind!r} is not of the Llama family", where=where, remedy=remedy)
    try:
        parsed = HfConfig.from_dict(raw)
        if not 0 < parsed.max_position_embeddings <= _MAX_POSITIONS:
            raise ValueError(f"max_position_embeddings is {parsed.max_position_embeddings}")
        reason = _difference(parsed)
        config = None if reason else _to_config(parsed)
        if config is not None:
            _check_sizes(config)
    except Exception as error:  # transformers' validators raise classes of their own, beside KeyError and TypeError
        what = f"config.json is not a Llama's: {type(error).__name__} {' '.join(str(error).split())}"
        raise InputError(what, where=where, remedy=_CHECK) from error
    return config, reason


def _check_sizes(config: LlamaConfig) -> None:
    """Refuse sizes that make no model (ValueError), and RoPE settings that make no angles (KeyError, TypeError)."""
    sizes = (config.vocab_size, config.hidden_size, config.intermediate_size, config.num_hidden_layers)
    if min(*sizes, config.num_key_value_heads, config.head_dim, config.rope_theta, config.rms_norm_eps) <= 0:
        raise ValueError("a size is not above zero")
    if config.num_attention_heads % config.num_key_value_heads or config.head_dim % 2:
        raise ValueError("its heads do not fit each other")
    if not all(table.isfinite().all() for table in rope_tables(config, 2)):
        raise ValueError("its RoPE settings give no angles")


def _difference(parsed: Any) -> str:
    """What makes the model another one than `Llama` here; nothing: they are the same."""
    rope = parsed.rope_parameters
    odd = [name for name in ("attention_bias", "mlp_bias") if getattr(parsed, name)]
    if parsed.hidden_act not in ("silu", "swish"):
        odd.append(f"hidden_act {parsed.hidden_act!r}")
    if rope["rope_type"] not in ROPE_TYPES:
        odd.append(f"RoPE variant {rope['rope_type']!r} is not supported")
    if rope.get("partial_rotary_factor", 1.0) != 1.0:
        odd.append("partial_rotary_factor")
    if getattr(parsed, "quantization_config", None) is not None:
        odd.append("quantised weights")
    return ", ".join(odd)


def _to_config(parsed: Any) -> LlamaConfig:
    rope = {key: value for key, value in parsed.rope_parameters.items() if key not in ("rope_theta", "type")}
    return LlamaConfig(
        vocab_size=int(parsed.vocab_size),
        hidden_size=int(parsed.hidden_size),
        intermediate_size=int(parsed.intermediate_size),
        num_hidden_layers=int(parsed.num_hidden_layers),
        num_attention_heads=int(parsed.num_attention_heads),
        num_key_value_heads=int(parsed.num_key_value_heads),
        head_dim=int(parsed.head_dim),
        max_position_embeddings=int(parsed.max_position_embeddings),
        rope_theta=float(parsed.rope_parameters["rope_theta"]),
        rope_scaling=None if rope["rope_type"] == "default" else rope,
        rms_norm_eps=float(parsed.rms_norm_eps),
        tie_word_embeddings=bool(parsed.tie_word_embeddings),
    )


def _read_tensors(directory: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    index = directory / "model.safetensors.index.json"
    names = ["model.safetensors"]
    if not (directory / names[0]).is_file() and index.is_file():  # the order in which transformers looks
        try:
            names = sorted({Path(name).name for name in json.loads(index.read_bytes())["weight_map"].values()})
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise DamagedError(
                f"not an index of weights: {type(error).__name__} {error}",
                where=str(index),
                remedy="copy or download the model again",
            ) from error
    tensors: dict[str, Tensor] = {}
    for name in names:
        path = directory / name
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
