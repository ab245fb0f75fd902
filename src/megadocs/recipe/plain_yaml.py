"""YAML as plain data, bounded before anything is built: what recipes and overrides are written in.

    data = parse_yaml("train: {learning_rate: 5e-2}", where="recipe.yaml")     # {"train": {"learning_rate": 0.05}}

A recipe may come from a stranger, so the reader takes texts, numbers, true, false, null, lists and mappings whose keys
are texts, and nothing else (no tags, no dates, no halves of surrogate pairs). A key that stands twice in one mapping is
an error that names both lines: PyYAML keeps the last one and drops the first in silence. Numbers are YAML 1.2's: `5e-2`
is one (to PyYAML, without a dot, a text), `0454` is 454 and `5:00` a text (to PyYAML both are 300).

Bounds, checked on the parser's events before a value is made: 256 KiB of text (the largest shipped recipe has 5 KB),
100 levels, 20,000 values with every alias written out. "A billion laughs" (nine aliases of ten lists each) has 10^9.
"""

from __future__ import annotations

import re
from collections.abc import Hashable
from pathlib import Path
from typing import Any

import yaml

from megadocs.errors import RecipeError

MAX_RECIPE_BYTES = 256 * 1024
MAX_DEPTH = 100
MAX_VALUES = 20_000

_INT = re.compile(r"^[-+]?(?:0|[1-9][0-9]*|0o[0-7]{1,20}|0x[0-9a-fA-F]{1,16})$")
_MERGE = "tag:yaml.org,2002:merge"
_FLOAT = re.compile(
    r"""^(?:[-+]?(?:[0-9][0-9_]*)\.[0-9_]*(?:[eE][-+]?[0-9]+)?
    |[-+]?[0-9][0-9_]*[eE][-+]?[0-9]+
    |[-+]?\.[0-9][0-9_]*(?:[eE][-+]?[0-9]+)?
    |[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$""",
    re.VERBOSE,
)


class _PlainLoader(yaml.SafeLoader):
    """`SafeLoader` without dates, bytes and sets, with YAML 1.2's numbers, keys that are texts, and none twice."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        """A dict; `ConstructorError` at a key that is no text and at the second of two equal ones."""
        lines: dict[str, int] = {}
        for key_node, _ in node.value:
            if key_node.tag == _MERGE:
                continue
            key = self.construct_object(key_node, deep=True)
            line = key_node.start_mark.line + 1
            if not isinstance(key, str):
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key!r:.80} in line {line} is no text: write it in quotes"
                )
            if key in lines:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key!r} stands twice: lines {lines[key]} and {line}", key_node.start_mark
                )
            lines[key] = line
        return super().construct_mapping(node, deep)


_PlainLoader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if not tag.endswith((":timestamp", ":float", ":int"))]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_PlainLoader.add_implicit_resolver("tag:yaml.org,2002:float", _FLOAT, list("-+0123456789."))
_PlainLoader.add_implicit_resolver("tag:yaml.org,2002:int", _INT, list("-+0123456789"))
_PlainLoader.yaml_constructors = {
    tag: constructor
    for tag, constructor in yaml.SafeLoader.yaml_constructors.items()
    if tag is None or tag.rpartition(":")[2] in ("null", "bool", "int", "float", "str", "seq", "map")
}


def read_yaml_file(path: Path) -> Any:
    """The value of a YAML file.

    Raises:
        RecipeError: there is no such file, it is none (a folder, a device), is too large, or is not plain YAML.
    """
    try:
        if path.exists() and not (path.is_file() or path.is_fifo()):  # a FIFO: `megadocs plan <(...)`
            raise RecipeError("a recipe is a file", where=str(path), remedy="give the path of a .yaml file")
        with path.open("rb") as file:
            raw = file.read(MAX_RECIPE_BYTES + 1)
    except FileNotFoundError as error:
        remedy = "give the path of a .yaml file, or a name of `megadocs recipes list`"
        raise RecipeError("no such recipe", where=str(path), remedy=remedy) from error
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise RecipeError(f"cannot read the recipe: {reason}", where=str(path)) from error
    if len(raw) > MAX_RECIPE_BYTES:
        limit = f"{MAX_RECIPE_BYTES // 1024} KiB"
        raise RecipeError(f"a recipe is at most {limit}", where=str(path), remedy="is this the right file?")
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise RecipeError(f"not UTF-8: {error}", where=str(path), remedy="save the file as UTF-8") from error
    return parse_yaml(text, where=str(path))


def parse_yaml(text: str, *, where: str) -> Any:
    """The value of a YAML text.

    Raises:
        RecipeError: not YAML, a tag, a key twice, or beyond the bounds; `where` is what the message names.
    """
    try:
        _check_size(text)
        return yaml.load(text, Loader=_PlainLoader)
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # ValueError: a number of 5,000 digits
        raise RecipeError(f"not valid YAML: {error}", where=where, remedy="fix the line it names") from error


def _check_size(text: str) -> None:
    """Count values over the parser's events; an alias counts as all that it stands for.

    Raises:
        ValueError: too deep, too many values, an alias of nothing or of what it stands in, a tag, half a surrogate
            pair.
    """
    sizes: dict[str, int] = {}
    counts: list[int] = [0]
    anchors: list[str | None] = [None]
    for event in yaml.parse(text, Loader=_PlainLoader):
        line = event.start_mark.line + 1 if event.start_mark is not None else 0
        tag = getattr(event, "tag", None)
        if tag is not None:
            raise ValueError(f"line {line}: {tag} is a tag, and recipes have none: leave it out")
        if isinstance(event, yaml.AliasEvent):
            if event.anchor not in sizes:
                raise ValueError(f"line {line}: *{event.anchor} stands for nothing before it, or for itself")
            counts[-1] += sizes[event.anchor]
        elif isinstance(event, yaml.ScalarEvent):
            counts[-1] += 1
            if any("\ud800" <= letter <= "\udfff" for letter in event.value):
                raise ValueError(f"line {line}: half of a surrogate pair is no text")
            if event.anchor is not None:
                sizes[event.anchor] = 1
        elif isinstance(event, yaml.CollectionStartEvent):
            counts.append(1)
            anchors.append(event.anchor)
        elif isinstance(event, yaml.CollectionEndEvent):
            size, anchor = counts.pop(), anchors.pop()
            counts[-1] += size
            if anchor is not None:
                sizes[anchor] = size
        if len(counts) > MAX_DEPTH:
            raise ValueError(f"line {line}: more than {MAX_DEPTH} levels")
        if sum(counts) > MAX_VALUES:
            raise ValueError(f"line {line}: more than {MAX_VALUES:,} values, aliases written out")
