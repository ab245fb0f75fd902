"""How large a tokenizer's vocabulary is, without building the tokenizer: for plans, which know no artifact yet.

read_vocab_size("HuggingFaceTB/SmolLM2-135M")        # 49152, or None where the hub's cache does not hold it
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from megadocs.errors import InputError
from megadocs.recipe.paths import user_path
from megadocs.text.plain_text import model_vocabulary
from megadocs.text.sources import read_source

#: 128,000 ordinary and 256 control tokens: the only tiktoken file that can be loaded.
LLAMA_3_VOCAB_SIZE = 128_256

_TIKTOKEN_NAME = "tokenizer.model"


def read_vocab_size(source: str, revision: str | None = None) -> int | None:
    """Largest id + 1 of a tokenizer's file; None where there is no file here, or it cannot be read.

    Args:
        source: as for `load_tokenizer`; a hub name is looked up in the local cache, nothing is downloaded.
        revision: hub revision.
    """
    path = user_path(source)
    if path.is_dir():
        names = ("tokenizer.json", _TIKTOKEN_NAME, f"original/{_TIKTOKEN_NAME}")  # the order of `read_source`
        path = next((path / name for name in names if (path / name).is_file()), path)
    elif not path.exists():
        cached = _cached_file(source, revision)
        if cached is None:
            return None
        path = cached
    if path.name == _TIKTOKEN_NAME:
        return LLAMA_3_VOCAB_SIZE
    try:
        return _vocab_size(str(path), path.stat().st_mtime_ns)
    except (InputError, OSError):
        return None  # the tokenizer step says what is wrong with it


@lru_cache(maxsize=8)
def _vocab_size(path: str, changed: int) -> int:
    """`changed` is the file's time stamp: another file at the same place is read again."""
    del changed
    spec = read_source(path).spec
    ids = [*model_vocabulary(spec).values(), *(int(token["id"]) for token in spec.get("added_tokens") or [])]
    return max(ids) + 1


def _cached_file(name: str, revision: str | None) -> Path | None:
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    try:
        found = try_to_load_from_cache(name, "tokenizer.json", revision=revision)
    except HFValidationError:
        return None
    return Path(found) if isinstance(found, str) else None
