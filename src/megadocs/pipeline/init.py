"""A recipe for somebody's own documents: recipes/own.yaml with their source in it.

    path = write_own_recipe(Path("runs/mine"), "my_texts/")

The shipped recipe is the template, comments and all, so that there is one place that explains each choice.
"""

from __future__ import annotations

import re
from pathlib import Path

import yaml

from megadocs.corpus import iter_documents
from megadocs.errors import InputError, UsageError
from megadocs.recipe import NAME_PATTERN, CorpusConfig, shipped_path
from megadocs.recipe.paths import user_path
from megadocs.store.files import make_directory, write_bytes_atomic

RECIPE_NAME = "recipe.yaml"
_SOURCE_LINE = re.compile(r"^  source: my_texts/ ", re.MULTILINE)
_NAME_LINE = re.compile(r"^name: own$", re.MULTILINE)
_HEADER = re.compile(r"\A(#.*\n)+")


def write_own_recipe(directory: Path, source: str) -> tuple[Path, int]:
    """Write `directory/recipe.yaml`; its path, and how many documents were read of the source before they are cut.

    Raises:
        UsageError: there is a recipe already, or the folder's name is none for a recipe.
        InputError: the source is not there or cannot be read.
    """
    path = directory / RECIPE_NAME
    if path.exists():
        raise UsageError("there is a recipe already", where=str(path), remedy="edit it, or name another folder")
    name = directory.resolve().name
    if not NAME_PATTERN.fullmatch(name):
        raise UsageError(
            f"{name!r} cannot be an experiment's name",
            where=str(directory),
            remedy="use letters, digits, '.', '_', '-'",
        )
    place = source if "://" in source else str(user_path(source).resolve())
    num_records = sum(1 for _ in iter_documents(CorpusConfig(source=place)))
    if not num_records:
        raise InputError("the source holds no documents", where=source, remedy="name a folder of .txt files")
    text = shipped_path("own").read_text(encoding="utf-8")
    header = f"# Written by `megadocs init`; yours to edit.\n#\n#   megadocs plan {path}\n#   megadocs run {path}\n"
    quoted = yaml.safe_dump(place, width=10_000).splitlines()[0]
    text = _HEADER.sub(lambda _: header, text)
    text = _SOURCE_LINE.sub(lambda _: f"  source: {quoted}  ", text)
    text = _NAME_LINE.sub(lambda _: f"name: {name}", text)
    make_directory(directory)
    write_bytes_atomic(path, text.encode("utf-8"))
    return path, num_records
