"""Values too long to write into a test: kept in `tests/golden/NAME.json`, compared word by word.

    assert_golden("paper_figures", figures)

A difference is shown by its path. What is meant to change is accepted with `MEGADOCS_GOLDEN=accept pytest FILE`, and
read in the diff before it is committed: the file is the expectation. Numbers may differ by one part in ten thousand,
since fits end where a processor's rounding takes them; words, keys, order and whole numbers may not.
"""

from __future__ import annotations

import dataclasses
import json
import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

_FOLDER = Path(__file__).parent / "golden"
_TOLERANCE = 1e-4
_TINY = 1e-9
_WIDTH = 150


def assert_golden(name: str, value: Any) -> None:
    """Compare a value of dataclasses, dictionaries, sequences, arrays and plain values with the one that is kept."""
    path = _FOLDER / f"{name}.json"
    found = _plain(value)
    if os.environ.get("MEGADOCS_GOLDEN") == "accept":
        path.write_text(_text(found) + "\n", encoding="utf-8")
    expected = json.loads(path.read_text(encoding="utf-8"))
    differences = list(_differences(expected, json.loads(json.dumps(found)), name))
    assert not differences, "\n".join(differences[:12])


def _text(value: Any, depth: int = 0) -> str:
    """JSON that a diff shows well: what fits stands on one line."""
    line = json.dumps(value, ensure_ascii=False)
    if len(line) + depth <= _WIDTH or not isinstance(value, dict | list):
        return line
    inner = " " * (depth + 1)
    if isinstance(value, dict):
        items = [f"{json.dumps(key, ensure_ascii=False)}: {_text(item, depth + 1)}" for key, item in value.items()]
        return "{\n" + ",\n".join(inner + item for item in items) + "\n" + " " * depth + "}"
    return "[\n" + ",\n".join(inner + _text(item, depth + 1) for item in value) + "\n" + " " * depth + "]"


def _plain(value: Any) -> Any:
    match value:
        case bool() | None | str() | int():
            return value
        case float():
            return float(f"{value:.7g}") if math.isfinite(value) else str(value)
        case np.generic():
            return _plain(value.item())
        case np.ndarray():
            return [_plain(item) for item in value.tolist()]
        case dict():
            return {str(key): _plain(item) for key, item in value.items()}
        case list() | tuple():
            return [_plain(item) for item in value]
        case set() | frozenset():
            return sorted(_plain(item) for item in value)
    assert dataclasses.is_dataclass(value), f"{type(value).__name__} has no plain form"
    return {item.name: _plain(getattr(value, item.name)) for item in dataclasses.fields(value)}


def _differences(expected: Any, found: Any, path: str) -> Iterator[str]:
    if isinstance(expected, float) and isinstance(found, float | int) and not isinstance(found, bool):
        if not math.isclose(expected, found, rel_tol=_TOLERANCE, abs_tol=_TINY):
            yield f"{path}: {found!r}, kept is {expected!r}"
    elif type(expected) is not type(found):
        yield f"{path}: {found!r:.200}, kept is {expected!r:.200}"
    elif isinstance(expected, dict):
        if list(expected) != list(found):
            yield f"{path}: keys {list(found)}, kept are {list(expected)}"
        for key in expected.keys() & found.keys():
            yield from _differences(expected[key], found[key], f"{path}.{key}")
    elif isinstance(expected, list):
        if len(expected) != len(found):
            yield f"{path}: {len(found)} items, kept are {len(expected)}"
        for place, (one, other) in enumerate(zip(expected, found, strict=False)):
            yield from _differences(one, other, f"{path}[{place}]")
    elif expected != found:
        yield f"{path}: {found!r}, kept is {expected!r}"
