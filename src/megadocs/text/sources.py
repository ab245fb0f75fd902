"""Where tokenizers come from: files, folders and hub names, all brought into the form of a `tokenizer.json`.

`read_source` returns the parsed JSON with the names of BOS and EOS. No code of a repository is ever run and nothing is
downloaded unless a hub name is given; `HF_HUB_OFFLINE=1` restricts hub names to the local cache.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from megadocs.errors import InputError
from megadocs.hub_errors import hub_errors
from megadocs.recipe.paths import is_path, user_path
from megadocs.text.gguf_file import read_gguf
from megadocs.text.plain_text import TokenizerJson, model_vocabulary
from megadocs.text.tiktoken_file import LLAMA_3_BOS, LLAMA_3_EOS, read_llama_3

_MAX_JSON_BYTES = 256 << 20
_KNOWN_EOS = (
    "<|eos|>",
    "<|end_of_text|>",
    "<|endoftext|>",
    "</s>",
    "<eos>",
    "[EOS]",
    "<｜end▁of▁sentence｜>",
    "<EOT>",
    "[SEP]",
    "<|im_end|>",
)
_KNOWN_BOS = (
    "<|bos|>",
    "<|begin_of_text|>",
    "<|startoftext|>",
    "<s>",
    "<bos>",
    "[BOS]",
    "<｜begin▁of▁sentence｜>",
    "[CLS]",
)
_REMEDY = "give a tokenizer.json, a folder that holds one, a Llama-3 tokenizer.model, a .gguf, or a name on the hub"


@dataclass(frozen=True, slots=True)
class LoadedSpec:
    """A parsed `tokenizer.json` and the contents of its separators (BOS None: there is none)."""

    spec: TokenizerJson
    bos_token: str | None
    eos_token: str


def read_source(source: str, revision: str | None = None) -> LoadedSpec:
    """Read a tokenizer from a file, a folder or the hub; see `tokenizer.load_tokenizer`."""
    path = user_path(source)
    if path.exists():
        return _read_folder(path) if path.is_dir() else _read_file(path)
    check_place(source)
    return _read_hub(source, revision)


def check_place(source: str) -> bool:
    """Whether a tokenizer lies on this machine; else its name is one that the hub may have. Reads nothing.

    Raises:
        InputError: it is a path, and nothing is there.
    """
    path = user_path(source)
    try:
        if path.exists():
            return True
    except (OSError, ValueError):  # a name too long, a NUL
        pass
    if is_path(source):
        raise InputError("no such tokenizer", where=source, remedy=_REMEDY)
    return False


@cache
def local_digest(source: str) -> str | None:
    """SHA-256 of what a file or folder holds of a tokenizer; None for a name on the hub. Read once in a process.

    Raises:
        InputError: it is a path, and nothing is there, or no tokenizer.
    """
    if not check_place(source):
        return None
    loaded = read_source(source)
    content = json.dumps([loaded.spec, loaded.bos_token, loaded.eos_token], sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()


def _read_folder(folder: Path) -> LoadedSpec:
    for name in ("tokenizer.json", "tokenizer.model", "original/tokenizer.model"):
        if (folder / name).is_file():
            return _read_file(folder / name)
    raise InputError("the folder holds no tokenizer.json", where=str(folder), remedy=_REMEDY)


def _read_file(path: Path) -> LoadedSpec:
    if path.suffix.lower() == ".json":
        return with_separators(_read_json(path), _read_config(path.parent), str(path))
    if path.suffix.lower() == ".gguf":
        spec, bos_token, eos_token = read_gguf(path)
        return LoadedSpec(spec, bos_token, eos_token)
    return LoadedSpec(read_llama_3(path), LLAMA_3_BOS, LLAMA_3_EOS)


def _read_hub(name: str, revision: str | None) -> LoadedSpec:
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    where = name if revision is None else f"{name}@{revision}"
    try:
        path = Path(hf_hub_download(name, "tokenizer.json", revision=revision))
    except LocalEntryNotFoundError as error:
        remedy = "check the network (or unset HF_HUB_OFFLINE), or give a local path"
        raise InputError("the tokenizer is neither in the cache nor reachable", where=where, remedy=remedy) from error
    except (EntryNotFoundError, HfHubHTTPError, HFValidationError) as error:
        message = str(error).strip().splitlines()[0]
        raise InputError(f"the hub has no such tokenizer: {message}", where=where, remedy=_REMEDY) from error
    except hub_errors() as error:
        remedy = "check the network, or give a local path"
        raise InputError(f"the hub cannot be reached: {error}", where=where, remedy=remedy) from error
    for optional in ("tokenizer_config.json", "special_tokens_map.json"):
        try:
            hf_hub_download(name, optional, revision=revision)
        except (EntryNotFoundError, LocalEntryNotFoundError):
            continue  # absent in many repositories; separators are then found by name
    return _read_file(path)


def _read_json(path: Path) -> Any:
    try:
        if path.stat().st_size > _MAX_JSON_BYTES:
            raise InputError(f"larger than {_MAX_JSON_BYTES >> 20} MiB", where=str(path), remedy=_REMEDY)
        return json.loads(path.read_bytes())
    except OSError as error:
        raise InputError(f"cannot read: {error.strerror}", where=str(path)) from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"not JSON: {error}", where=str(path), remedy=_REMEDY) from error


def _read_config(folder: Path) -> dict[str, Any]:
    config: dict[str, Any] = {}
    for name in ("special_tokens_map.json", "tokenizer_config.json"):  # the latter wins
        if (folder / name).is_file():
            values = _read_json(folder / name)
            if isinstance(values, dict):
                config.update({key: values[key] for key in ("bos_token", "eos_token") if key in values})
    return config


def with_separators(spec: Any, config: dict[str, Any], where: str) -> LoadedSpec:
    """Find BOS and EOS: what the configuration says (a null BOS is none), else the first known name in the vocabulary.

    Raises:
        InputError: `spec` is not a tokenizer, or there is no EOS.
    """
    if not isinstance(spec, dict) or not isinstance(spec.get("model"), dict) or "vocab" not in spec["model"]:
        raise InputError("not a tokenizer.json (no model with a vocabulary)", where=where, remedy=_REMEDY)
    try:
        known = {*model_vocabulary(spec), *(token["content"] for token in spec.get("added_tokens") or [])}
    except (KeyError, TypeError, ValueError) as error:
        raise InputError("not a tokenizer.json (odd vocabulary)", where=where, remedy=_REMEDY) from error
    eos_token = _configured(config, "eos_token") or next((name for name in _KNOWN_EOS if name in known), None)
    bos_token = _configured(config, "bos_token")
    if "bos_token" not in config:
        bos_token = next((name for name in _KNOWN_BOS if name in known), None)
    if eos_token is None:
        remedy = "put a tokenizer_config.json with `eos_token` beside it"
        raise InputError("the tokenizer has no end-of-sequence token", where=where, remedy=remedy)
    return LoadedSpec(spec, bos_token, eos_token)


def _configured(config: dict[str, Any], key: str) -> str | None:
    value = config.get(key)
    content = value.get("content") if isinstance(value, dict) else value
    return content if isinstance(content, str) else None
