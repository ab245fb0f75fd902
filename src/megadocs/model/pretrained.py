"""Find the pretrained checkpoint a run continues from: a folder, or a name on the Hugging Face hub.

    folder = find_pretrained("HuggingFaceTB/SmolLM2-135M")
    model = import_hf(folder, context_length=1024)
    files = tokenizer_files(folder)                        # its tokenizer, to be taken along

The hub is asked only here, only because the recipe names a model there, and only for safetensors and JSON;
`HF_HUB_OFFLINE=1` keeps to the local cache.
"""

from __future__ import annotations

import hashlib
import json
from functools import cache
from pathlib import Path

from megadocs.errors import InputError
from megadocs.hub_errors import hub_errors
from megadocs.recipe.paths import is_path, user_path
from megadocs.store.files import file_sha256

_WANTED = [
    "config.json",
    "generation_config.json",
    "*.safetensors",
    "*.safetensors.index.json",
    "tokenizer*.json",
    "*.jinja",
]
_TOKENIZER = (
    "tokenizer*.json",
    "tokenizer.model",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "chat_template.*",
)


def find_pretrained(source: str) -> Path:
    """The local folder of a model (InputError if there is none and the hub has none)."""
    path = user_path(source)
    if path.is_dir():
        return path
    if is_path(source):
        raise InputError("no such folder", where=f"model.init_from: {source}", remedy="check the path")
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(source, allow_patterns=_WANTED))
    except hub_errors() as error:
        raise InputError(
            f"no folder of this name is here, and the hub did not give such a model: {error}",
            where=f"model.init_from: {source}",
            remedy="make or copy the folder first, if it is one (the comment at the head of the recipe may say how), "
            "else check the name and the network",
        ) from error


def local_model(source: str) -> Path | None:
    """The folder of a model that is on this machine: its own, or the one in the hub's cache; None: there is none."""
    path = user_path(source)
    if path.is_dir():
        return path
    if is_path(source):
        return None
    from huggingface_hub import try_to_load_from_cache

    cached = try_to_load_from_cache(source, "config.json")
    return Path(cached).parent if isinstance(cached, str) else None


@cache
def local_model_digest(source: str) -> str | None:
    """SHA-256 of a folder's configuration and weights; None for a name on the hub. Read once in a process."""
    path = user_path(source)
    return weights_digest(path) if path.is_dir() else None


def weights_digest(folder: Path) -> str:
    """SHA-256 over `config.json` and the weight files, by name and content.

    Raises:
        InputError: the folder has no `config.json`.
    """
    if not (folder / "config.json").is_file():
        raise InputError("no model is here", where=str(folder), remedy="give a Hugging Face folder with config.json")
    names = sorted(path.name for path in folder.glob("*.safetensors"))
    parts = [(name, file_sha256(folder / name)) for name in ["config.json", *names]]
    return hashlib.sha256(json.dumps(parts).encode("utf-8")).hexdigest()


def tokenizer_files(folder: Path) -> list[Path]:
    """The tokenizer's files in a model's folder, those that are there: vocabulary, settings, chat template."""
    return sorted(path for pattern in _TOKENIZER for path in folder.glob(pattern) if path.is_file())
