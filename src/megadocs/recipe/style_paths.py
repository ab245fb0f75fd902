"""Prompt styles that are files of the user's own: `style: my/prompt.md`, relative to the file that says so.

A style is a path when it has a slash or ends in `.md`. A recipe carries it as an absolute path, so that every process
finds the file; what a generation knows of it is its content (`generate.styles`).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from megadocs.recipe.paths import user_path


def is_style_path(name: str) -> bool:
    """Whether a style is a file of the user's own, not one of the registry."""
    return "/" in name or name.endswith(".md")


def with_absolute_styles(data: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """A recipe's raw data with the style paths of `generate` made absolute.

    Args:
        data: as it was read; whatever has not the form of a recipe is left to its validation.
        folder: that relative paths begin at.
    """
    generate = data.get("generate")
    if not isinstance(generate, Mapping):
        return dict(data)
    tasks = {
        name: _of_section(section, folder) if isinstance(section, Mapping) else section
        for name, section in generate.items()
    }
    return {**data, "generate": tasks}


def _of_section(section: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    made = dict(section)
    if isinstance(section.get("style"), str):
        made["style"] = _absolute(section["style"], folder)
    styles = section.get("diverse_styles")
    if isinstance(styles, list):
        made["diverse_styles"] = [_absolute(style, folder) if isinstance(style, str) else style for style in styles]
    return made


def _absolute(style: str, folder: Path) -> str:
    """The path as every process finds it; one that cannot be resolved stays, and is named when it is read."""
    if not is_style_path(style):
        return style
    path = folder / user_path(style)
    try:
        return str(path.resolve())
    except (OSError, RuntimeError, ValueError):  # a loop of links, a NUL
        return str(path)
