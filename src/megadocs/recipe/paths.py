"""Paths that a user wrote: in a recipe or on the command line."""

from __future__ import annotations

import re
from pathlib import Path

_HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*(/[\w.-]+)?")
_FILE_SUFFIXES = (".json", ".model", ".gguf")


def user_path(text: str | Path) -> Path:
    """The path with `~` and `~name` as home folders; one of an unknown user stays as written: there is no such file."""
    try:
        return Path(text).expanduser()
    except RuntimeError:
        return Path(text)


def is_path(text: str) -> bool:
    """Whether a model or tokenizer is written as a path, as no name on the hub is: `./a`, `~/a`, `a/b/c`, `a.gguf`.

    `a/b` is none: it may be either. Nothing is looked up.
    """
    is_file = Path(text).suffix.lower() in _FILE_SUFFIXES
    return is_file or text.startswith((".", "/", "~")) or not _HUB_NAME.fullmatch(text)
