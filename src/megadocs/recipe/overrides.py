"""Dotted paths into a recipe: `train.learning_rate=1e-2`, where some mappings have keys that contain dots themselves.

    set_dotted(data, "search.axes.train.real_epochs.upper", 64)  # axis `train.real_epochs`, field `upper`
    set_dotted(data, "arms.simple.train.learning_rate", 1e-2)    # arm `simple`, override `train.learning_rate`

In each mapping the longest key that is there already wins. Names that are new in the three places with dotted keys
(axes and start of a search, overrides of an arm) are distinguished from fields by what may stand after them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from megadocs.recipe.search import SEARCHABLE_SECTIONS, AxisConfig


def set_dotted(data: dict[str, Any], dotted: str, value: Any) -> None:
    """Set the value at a dotted path; mappings on the way are made, anything else in their place is replaced."""
    node = data
    keys = split_path(data, dotted)
    for key in keys[:-1]:
        below = node.get(key)
        if not isinstance(below, dict):
            below = node[key] = {}
        node = below
    node[keys[-1]] = value


def split_path(data: Mapping[str, Any], dotted: str) -> list[str]:
    """The keys that a dotted path means in this recipe: `search.axes.train.real_epochs.upper` has four."""
    keys: list[str] = []
    node: Any = data
    rest = dotted.split(".")
    while rest:
        known = node if isinstance(node, Mapping) else {}
        taken = _longest_known(known, rest) or _length_of_new(keys, rest)
        key = ".".join(rest[:taken])
        keys.append(key)
        rest = rest[taken:]
        node = known.get(key)
    return keys


def _longest_known(known: Mapping[str, Any], parts: Sequence[str]) -> int:
    """How many parts make the longest key that is there; 0: none."""
    return next((taken for taken in range(len(parts), 0, -1) if ".".join(parts[:taken]) in known), 0)


def _length_of_new(above: Sequence[str], parts: Sequence[str]) -> int:
    """How many parts make the next key, where no such key is there yet."""
    match list(above):
        case ["search", "axes"]:  # a dotted field, perhaps followed by a field of an axis
            return len(parts) - (len(parts) > 1 and parts[-1] in AxisConfig.model_fields)
        case ["search", "start"] | ["arms", _]:
            return len(parts)
        case ["arms"]:  # a name, perhaps with dots, then a section
            return next((index for index, part in enumerate(parts) if index and part in SEARCHABLE_SECTIONS), 1)
        case _:
            return 1
