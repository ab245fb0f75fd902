"""Paths that a user wrote: in a recipe or on the command line."""

from __future__ import annotations

from pathlib import Path


def user_path(text: str | Path) -> Path:
    """The path with `~` and `~name` as home folders; one of an unknown user stays as written: there is no such file."""
    try:
        return Path(text).expanduser()
    except RuntimeError:
        return Path(text)
