"""A recipe for somebody's own documents: recipes/own.yaml with their source in it.

    written = write_own_recipe(Path("runs/mine"), "my_texts/", budget_seconds=3600)

The shipped recipe is the template, comments and all, so that there is one place that explains each choice; what a
budget changes (`budget.py`) replaces lines of it, with the reason in their comments.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path

import yaml

from megadocs.corpus import iter_documents
from megadocs.errors import InputError, UsageError
from megadocs.pipeline.budget import Choice, choose_within
from megadocs.pipeline.price.rates import RATES_FROM
from megadocs.recipe import NAME_PATTERN, CorpusConfig, shipped_path
from megadocs.recipe.paths import user_path
from megadocs.store.files import make_directory, write_bytes_atomic

RECIPE_NAME = "recipe.yaml"
_SOURCE_LINE = re.compile(r"^  source: my_texts/ ", re.MULTILINE)
_NAME_LINE = re.compile(r"^name: own$", re.MULTILINE)
#: What is said of a student that follows the tokens by itself; and everything of latent thoughts.
_NO_MODEL = re.compile(r"^# No section `model`.*\n", re.MULTILINE)
_THOUGHTS = re.compile(r"^  (thought|latent_thoughts): .*\n", re.MULTILINE)
_HEADER = re.compile(r"\A(#.*\n)+")


@dataclass(frozen=True, slots=True)
class Written:
    """A recipe that was written: its path, the source's documents before they are cut, and what a budget bought."""

    path: Path
    num_records: int
    choice: Choice | None


def write_own_recipe(directory: Path, source: str, *, budget_seconds: float | None = None) -> Written:
    """Write `directory/recipe.yaml`.

    Args:
        directory: folder of the experiment, made where it is missing.
        source: the documents, as in `corpus.source`.
        budget_seconds: time for tuning and runs; None: the recipe as it is shipped.

    Raises:
        UsageError: there is a recipe already, the folder's name is none for a recipe, or the budget is too small.
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
    choice = choose_within(place, directory, budget_seconds) if budget_seconds is not None else None
    header = f"# Written by `megadocs init`; yours to edit.\n#\n#   megadocs plan {path}\n#   megadocs run {path}\n"
    if choice is not None:
        text = _fit(text, choice)
        header += f"#\n# At most about {choice.seconds / 60:.0f} minutes, {RATES_FROM[choice.rates]}.\n"
    quoted = yaml.safe_dump(place, width=10_000).splitlines()[0]
    text = _HEADER.sub(lambda _: header, text)
    text = _SOURCE_LINE.sub(lambda _: f"  source: {quoted}  ", text)
    text = _NAME_LINE.sub(lambda _: f"name: {name}", text)
    make_directory(directory)
    write_bytes_atomic(path, text.encode("utf-8"))
    return Written(path, num_records, choice)


def _fit(text: str, choice: Choice) -> str:
    """The template with the lines that the budget decides, each with its reason."""
    chosen, reasons = choice.overrides, choice.reasons
    model = {key.removeprefix("model."): value for key, value in chosen.items() if key.startswith("model.")}
    rephrases = f"{chosen['generate.rephrase.num_generations']} rephrases"
    thoughts = " and two latent thoughts" if choice.has_thoughts else ""
    lines = {
        "two rephrases and two latent thoughts of each": f"{rephrases}{thoughts} of each",
        "  split: auto\n": f"  split: auto\n  limit: {chosen['corpus.limit']}  # {reasons['corpus.limit']}\n",
        "  rephrase: {num_generations: 2,": (
            f"  # {reasons['generate.rephrase.num_generations']}.\n"
            f"  rephrase: {{num_generations: {chosen['generate.rephrase.num_generations']},"
        ),
        "  context_length: 256\n": (
            f"  # {reasons['train.context_length']}.\n  context_length: {chosen['train.context_length']}\n"
            f"  batch_size: {chosen['train.batch_size']}\n"
        ),
        "train:\n": (
            f"# {reasons['model']}.\nmodel: {yaml.safe_dump(model, default_flow_style=True, width=10_000)}\ntrain:\n"
        ),
        "tune: auto\n": f"# Here: {reasons['tune']}.\ntune: {json.dumps(chosen['tune'])}\n".replace('"', ""),
        "\narms:\n": f"\n# {reasons['arms']}.\n# {reasons['thoughts']}.\narms:\n",
    }
    for line, replacement in lines.items():
        if text.count(line) != 1:
            raise ValueError(f"recipes/own.yaml has {line!r} {text.count(line)} times, `init` wants it once")
        text = text.replace(line, replacement)
    text = _NO_MODEL.sub("", text)
    return text if choice.has_thoughts else _THOUGHTS.sub("", text)
