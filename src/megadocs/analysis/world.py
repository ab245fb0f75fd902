"""Losses over the floor of a controlled world, by class of tokens.

The world's generator gives every document a known probability, so a loss splits into the floor, which nothing can
lower, and an excess, which is all that there is to learn. `world_tables` reads the sets `<set>_<class>` that
evaluation adds for such documents, and puts their differences to the baseline beside them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from megadocs.analysis.results_json import number_of

#: Set -> class -> {num_tokens, nats}: what the evaluate steps of a world record.
Floors = Mapping[str, Mapping[str, Mapping[str, Any]]]


def world_tables(results: Mapping[str, Any], floors: Floors, set_name: str = "test") -> list[dict[str, Any]]:
    """One entry per class, then one over all tokens: floor and, per arm, its excess in nats per token.

    Args:
        results: of `analyze_experiment`.
        floors: from the record of any run's evaluation; empty where the documents are of no world.

    Returns:
        Entries {class, num_tokens, floor, arms: [{arm, excess, seeds, difference}]}; `difference` is the paired one to
        the baseline (the floor cancels), or None for the baseline itself.
    """
    floor = floors.get(set_name, {})
    own = [row["mode"] for row in results["sets"] if row["set"] in {f"{set_name}_{name}" for name in floor}]
    blocks = {row["set"]: row for row in results["sets"] if row["mode"] in own}  # classes are scored in one mode alone
    tables = [_table(name, f"{set_name}_{name}", entry, blocks) for name, entry in floor.items()]
    if floor:
        total = {key: sum(entry[key] for entry in floor.values()) for key in ("num_tokens", "nats")}
        tables.append(_table("all", set_name, total, blocks))
    return [table for table in tables if table is not None]


def _table(
    name: str, set_name: str, floor: Mapping[str, Any], blocks: Mapping[str, Mapping[str, Any]]
) -> dict[str, Any] | None:
    block = blocks.get(set_name)
    if block is None:
        return None
    base = floor["nats"] / floor["num_tokens"]
    differences = {row["arm"]: row for row in block["differences"]}
    arms: Sequence[dict[str, Any]] = [
        {
            "arm": row["arm"],
            "excess": number_of(row["loss"]) - base,
            "seeds": [number_of(seed["loss"]) - base for seed in row["seeds"]],
            "difference": differences.get(row["arm"]),
        }
        for row in block["losses"]
    ]
    return {"class": name, "num_tokens": floor["num_tokens"], "floor": base, "arms": list(arms)}
