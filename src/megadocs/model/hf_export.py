"""Write a student as a Hugging Face folder that transformers, vLLM and lm-eval load as it is.

    export_hf(model, directory, tokenizer_files=[tokenizer_json], bos_id=1, eos_id=2)

`config.json`, `generation_config.json`, `model.safetensors` (float32, one file) and the tokenizer's files beside
them. The folder appears whole: it is written under a temporary name, synced, and renamed.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from megadocs.model.config import LlamaConfig
from megadocs.model.llama import Llama
from megadocs.store.files import fsync_directory, fsync_file, make_directory, store_error

_GENERATION = "generation_config.json"


def export_hf(
    model: Llama,
    directory: Path,
    *,
    tokenizer_files: Sequence[Path] = (),
    bos_id: int | None = None,
    eos_id: int | None = None,
    weights: Mapping[str, Tensor] | None = None,
    origin: Path | None = None,
) -> Path:
    """Write the folder, replacing an older one; returns it.

    Args:
        model: gives the shape and, unless `weights` is given (averaged or gathered ones), the weights.
        tokenizer_files: files copied into it under their own names (`tokenizer.json`, `tokenizer_config.json`).
        bos_id: written to both configurations where the tokenizer has one.
        weights: full tensors by parameter name.
        origin: folder of the pretrained model with this tokenizer: its ids of control tokens (several EOS, padding) and
            its `generation_config.json` are kept.

    Raises:
        StoreError: writing failed; nothing half-written stays.
    """
    directory = Path(directory)
    temporary = directory.with_name(f".{directory.name}.{os.getpid()}")
    try:
        make_directory(directory.parent)
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir()
        _write(temporary, model, weights, _control_ids(origin, bos_id, eos_id))
        if origin is not None and (origin / _GENERATION).is_file():
            shutil.copyfile(origin / _GENERATION, temporary / _GENERATION)
        for source in tokenizer_files:
            shutil.copyfile(source, temporary / Path(source).name)
        _publish(temporary, directory)
    except OSError as error:
        shutil.rmtree(temporary, ignore_errors=True)
        raise store_error("the model could not be written", directory, error) from error
    return directory


def hf_config(config: LlamaConfig, control_ids: Mapping[str, Any]) -> dict[str, Any]:
    """The content of `config.json`, RoPE both as transformers 5 looks for it and as older readers do."""
    rope: dict[str, Any] = {"rope_type": "default", **(config.rope_scaling or {}), "rope_theta": config.rope_theta}
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "vocab_size": config.vocab_size,
        "hidden_size": config.hidden_size,
        "intermediate_size": config.intermediate_size,
        "num_hidden_layers": config.num_hidden_layers,
        "num_attention_heads": config.num_attention_heads,
        "num_key_value_heads": config.num_key_value_heads,
        "head_dim": config.head_dim,
        "max_position_embeddings": config.max_position_embeddings,
        "rope_theta": config.rope_theta,
        "rope_scaling": config.rope_scaling,
        "rope_parameters": rope,
        "rms_norm_eps": config.rms_norm_eps,
        "tie_word_embeddings": config.tie_word_embeddings,
        "hidden_act": "silu",
        "attention_bias": False,
        "mlp_bias": False,
        "attention_dropout": 0.0,
        "initializer_range": config.hidden_size**-0.5,
        "use_cache": True,
        **control_ids,
        "dtype": "float32",
        "torch_dtype": "float32",
    }


def _control_ids(origin: Path | None, bos_id: int | None, eos_id: int | None) -> dict[str, Any]:
    """Ids of control tokens for `config.json`: the origin's, else those of the tokenizer."""
    own = {"bos_token_id": bos_id, "eos_token_id": eos_id}
    if origin is None:
        return own
    raw = json.loads((origin / "config.json").read_bytes())
    return own | {name: raw[name] for name in (*own, "pad_token_id") if raw.get(name) is not None}


def _write(folder: Path, model: Llama, weights: Mapping[str, Tensor] | None, control_ids: Mapping[str, Any]) -> None:
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    source = weights if weights is not None else dict(model.named_parameters())
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in source.items()}
    if model.config.tie_word_embeddings:
        tensors.pop("lm_head.weight", None)
    config = hf_config(model.config, control_ids)
    generation = {**control_ids, "do_sample": True, "temperature": 1.0, "top_p": 1.0}
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    (folder / _GENERATION).write_text(json.dumps(generation, indent=2) + "\n", encoding="utf-8")
    try:
        save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    except SafetensorError as error:
        raise OSError(str(error)) from error


def _publish(temporary: Path, directory: Path) -> None:
    for path in temporary.iterdir():
        fsync_file(path)
    fsync_directory(temporary)
    retired = directory.with_name(f".{directory.name}.retired")
    shutil.rmtree(retired, ignore_errors=True)
    if directory.exists():
        directory.rename(retired)
    temporary.rename(directory)
    fsync_directory(directory.parent)
    shutil.rmtree(retired, ignore_errors=True)
