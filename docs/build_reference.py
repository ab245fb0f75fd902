"""Write docs/recipe.md and docs/commands.md from the code: `make docs`. A test checks that they are up to date.

python docs/build_reference.py          # write both
python docs/build_reference.py --check  # exit 1 when either differs
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer.main
from pydantic import BaseModel
from pydantic_core import PydanticUndefined
from typer.testing import CliRunner

from megadocs.cli import build_app
from megadocs.recipe import GenerateConfig, Recipe, TaskConfig
from megadocs.recipe.validation import models_in

HERE = Path(__file__).parent
HEAD = "<!-- Written by docs/build_reference.py; do not edit. -->\n"


def recipe_reference() -> str:
    """Every key of a recipe: type, default, meaning."""
    lines = [HEAD, "# Recipe reference", "", "Every key can be set on the command line as `key.sub=value`.", ""]
    seen: set[type[BaseModel]] = set()
    for model, path in _sections(Recipe, ""):
        if model in seen:
            continue
        seen.add(model)
        lines += [f"## {path or 'top level'}", "", (model.__doc__ or "").strip(), "", "| key | type | default | |"]
        lines += ["|---|---|---|---|"]
        for name, field in model.model_fields.items():
            default = "**required**" if field.is_required() else f"`{_default(field)}`"
            text = (field.description or "").replace("|", "\\|")
            lines.append(f"| `{name}` | {_type(field.annotation)} | {default} | {text} |")
        lines.append("")
    return "\n".join(lines)


def command_reference() -> str:
    """`--help` of every verb."""
    app = build_app([])
    lines = [HEAD, "# Command reference", ""]
    for path in _verbs(typer.main.get_command(app), []):
        shown = CliRunner().invoke(app, [*path, "--help"], env={"COLUMNS": "100"}, prog_name="megadocs")
        lines += [f"## megadocs {' '.join(path)}", "", "```", shown.output.rstrip(), "```", ""]
    return "\n".join(lines)


def _sections(model: type[BaseModel], path: str) -> Iterator[tuple[type[BaseModel], str]]:
    yield model, path
    for name, field in model.model_fields.items():
        for below in models_in(field.annotation):
            yield from _sections(below, f"{path}.{name}".lstrip("."))
    if model is GenerateConfig:
        yield TaskConfig, f"{path}.TASK"


def _default(field: Any) -> str:
    value = field.get_default(call_default_factory=True)
    if value is PydanticUndefined:
        return ""
    if isinstance(value, BaseModel):
        return "see below"
    return str(value).replace("|", "\\|")


def _type(annotation: Any) -> str:
    models = models_in(annotation)
    if models:
        return "section"
    text = (
        annotation.__name__
        if isinstance(annotation, type) and not getattr(annotation, "__args__", ())
        else str(annotation)
    )
    return f"`{text.replace('typing.', '').replace('|', 'or')}`"


def _verbs(command: Any, path: list[str]) -> Iterator[list[str]]:
    """The words of every verb; groups are walked."""
    below = getattr(command, "commands", None)
    if below is None:
        yield path
    else:
        for name in below:
            yield from _verbs(below[name], [*path, name])


def main() -> int:
    """Write the pages, or compare them."""
    pages = {HERE / "recipe.md": recipe_reference(), HERE / "commands.md": command_reference()}
    stale = [path for path, text in pages.items() if not path.is_file() or path.read_text(encoding="utf-8") != text]
    if "--check" in sys.argv:
        for path in stale:
            print(f"{path.name} is not up to date: run `make docs`")
        return 1 if stale else 0
    for path, text in pages.items():
        path.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
