"""Every remedy is one that exists: the commands, options and recipe keys that messages name are those of the parser."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer.main
from pydantic import BaseModel

import megadocs
from megadocs.cli import VERBS, build_app
from megadocs.recipe import Recipe
from megadocs.recipe.validation import models_in

SOURCES = sorted(Path(megadocs.__file__).parent.rglob("*.py"))
_COMMAND = re.compile(r"`megadocs ([^`]*)`")
_OPTION = re.compile(r"(?<![\w-])--[a-z][a-z-]+")
_KEY = re.compile(r"(?<![\w./-])([a-z_]+(?:\.[a-z_]+)+)(?=[=\s,;:)]|$)")


def messages(path: Path) -> Iterator[tuple[int, str]]:
    """What a module tells people: its strings that are no docstrings, parts of one text joined, {} where it varies."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    inside: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            inside.add(id(node.value))
        elif isinstance(node, ast.JoinedStr):
            inside |= {id(part) for part in node.values}
            yield node.lineno, "".join(str(p.value) if isinstance(p, ast.Constant) else "{}" for p in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in inside:
            yield node.lineno, node.value


def remedies(path: Path) -> Iterator[tuple[int, str]]:
    """The texts given as `remedy=`."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.keyword) and node.arg == "remedy":
            for part in ast.walk(node.value):
                if isinstance(part, ast.Constant) and isinstance(part.value, str):
                    yield part.lineno, part.value


def application() -> Any:
    return typer.main.get_command(build_app([]))


def verbs(command: Any) -> dict[str, Any]:
    """What stands below a command; {} for one that is no group."""
    return dict(getattr(command, "commands", {}))


def options(command: Any) -> set[str]:
    found = {name for parameter in command.params for name in parameter.opts}
    return found.union(*(options(below) for below in verbs(command).values()))


def test_commands_that_messages_name_parse() -> None:
    root, wrong, seen = application(), [], 0
    for path in SOURCES:
        for line, text in messages(path):
            for words in _COMMAND.findall(text):
                seen += 1
                command = root
                for word in words.split():
                    if word in verbs(command):
                        command = verbs(command)[word]
                    elif word.startswith("--") and word.partition("=")[0] not in options(command):
                        wrong.append(f"{path.name}:{line}: {words}: no option {word}")
                if command is root or (verbs(command) and not command.invoke_without_command):
                    wrong.append(f"{path.name}:{line}: {words}: no command")
    assert seen > 20
    assert not wrong, "\n".join(wrong)


def test_options_that_remedies_name_exist() -> None:
    known, wrong, seen = options(application()) | {"--no-deps", "--help"}, [], 0
    for path in SOURCES:
        for line, text in remedies(path):
            for option in _OPTION.findall(text):
                seen += 1
                if option not in known:
                    wrong.append(f"{path.name}:{line}: {option}")
    assert seen > 10
    assert not wrong, "\n".join(wrong)


def fields(model: type[BaseModel], name: str) -> list[Any] | None:
    """Models below a field, [] where it has none; None: there is no such field."""
    field = model.model_fields.get(name)
    return None if field is None else list(models_in(field.annotation))


def exists(key: str) -> bool:
    found: list[Any] = [Recipe]
    for part in key.split("."):
        if not found:
            return True  # below a mapping: names of the user's own
        below = [fields(model, part) for model in found]
        if all(entry is None for entry in below):
            return False
        found = [model for entry in below if entry for model in entry]
    return True


def test_recipe_keys_that_remedies_name_exist() -> None:
    sections, wrong, seen = set(Recipe.model_fields), [], 0
    for path in SOURCES:
        for line, text in remedies(path):
            for key in _KEY.findall(text):
                if key.split(".")[0] in sections and not key.endswith((".py", ".json", ".yaml", ".md", ".txt")):
                    seen += 1
                    if not exists(key):
                        wrong.append(f"{path.name}:{line}: {key}")
    assert seen > 30
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_help(verb: str) -> None:
    assert application().commands[verb].help
