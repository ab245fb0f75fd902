"""Find the model a run goes on from: a folder, or a name on the Hugging Face hub.

    folder = find_pretrained("HuggingFaceTB/SmolLM2-135M")
    model = import_hf(folder, context_length=1024)
    files = tokenizer_files(folder)                        # its tokenizer, to be taken along

The hub is asked only here, only because the recipe names a model there, and only for safetensors and JSON;
`HF_HUB_OFFLINE=1` keeps to the local cache.
"""

from __future__ import annotations

from pathlib import Path

from megadocs.errors import InputError
from megadocs.hub_errors import hub_errors
from megadocs.recipe.paths import user_path

_WANTED = ["config.json", "generation_config.json", "*.safetensors", "*.safetensors.index.json", "tokenizer*.json"]
_TOKENIZER = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json")


def find_pretrained(source: str) -> Path:
    """The local folder of a model (InputError if there is none and the hub has none)."""
    path = user_path(source)
    if path.is_dir():
        return path
    if source.startswith((".", "/", "~")) or source.count("/") > 1:
        raise InputError("no such folder", where=f"model.init_from: {source}", remedy="check the path")
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(source, allow_patterns=_WANTED))
    except hub_errors() as error:
        raise InputError(
            f"the hub did not give this model: {error}",
            where=f"model.init_from: {source}",
            remedy="check the name and the network, or download the folder and give its path",
        ) from error


def tokenizer_files(folder: Path) -> list[Path]:
    """The tokenizer's files in a model's folder, those that are there."""
    return [folder / name for name in _TOKENIZER if (folder / name).is_file()]
