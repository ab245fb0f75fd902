"""Excess over the floor, by hand; a set that is scored in several modes is read in the one that its classes have."""

from __future__ import annotations

from typing import Any

import pytest

from megadocs.analysis import world_tables

FLOORS = {"test": {"template": {"num_tokens": 10, "nats": 5.0}, "later_mention": {"num_tokens": 5, "nats": 0.0}}}


def block(set_name: str, mode: str, **losses: float) -> dict[str, Any]:
    rows = [{"arm": arm, "loss": loss, "seeds": [{"seed": 0, "loss": loss}]} for arm, loss in losses.items()]
    difference = {"arm": "stitched", "difference": losses.get("stitched", 0.0) - losses.get("simple", 0.0)}
    return {"set": set_name, "mode": mode, "losses": rows, "differences": [difference]}


def test_a_loss_is_floor_plus_excess() -> None:
    sets = [
        block("test", "windowed", simple=9.0, stitched=9.0),
        block("test", "windowed_across", stitched=9.0),  # of an arm with a boundary: in another mode, not every arm
        block("test", "alone", simple=1.5, stitched=1.0),
        block("test_template", "alone", simple=0.75, stitched=0.75),
        block("test_later_mention", "alone", simple=3.0, stitched=1.5),
        block("test", "zzz", stitched=9.0),
    ]
    tables = {table["class"]: table for table in world_tables({"sets": sets}, FLOORS)}
    assert tables["template"]["floor"] == 0.5
    assert [row["excess"] for row in tables["template"]["arms"]] == [0.25, 0.25]
    assert [row["excess"] for row in tables["later_mention"]["arms"]] == [3.0, 1.5]
    assert tables["all"]["floor"] == pytest.approx(5 / 15)
    assert [row["excess"] for row in tables["all"]["arms"]] == pytest.approx([1.5 - 1 / 3, 1.0 - 1 / 3])
    assert tables["all"]["arms"][1]["difference"]["difference"] == -0.5


def test_no_world_no_table() -> None:
    assert world_tables({"sets": [block("test", "alone", simple=1.0)]}, {}) == []
