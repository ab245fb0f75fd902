"""`megadocs analyze --beside`: replications on the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from megadocs.cli import build_app
from megadocs.errors import InputError

ROOT = Path(__file__).parents[2] / "results" / "world" / "order"


def analyze(*arguments: str | Path):
    result = CliRunner().invoke(build_app(["analyze"]), ["analyze", *map(str, arguments)])
    if result.exception is not None:
        raise result.exception
    return result


def test_the_shipped_worlds_give_the_numbers_of_the_page() -> None:
    beside = [part for world in (1, 2, 3, 4) for part in ("--beside", ROOT / str(world))]
    done = analyze(ROOT / "0", *beside, "--arm", "stitched", "--against", "simple", "--json")
    rows = json.loads(done.stdout)
    found = next(row for row in rows if row["set_name"] == "test" and row["mode"] != "windowed")
    assert (round(found["mean"], 3), round(found["p_value"], 3)) == (-0.366, 0.014)
    assert [round(value, 3) for value in found["differences"]] == [-0.113, -0.472, -0.207, -0.563, -0.475]


def test_both_arms_are_named() -> None:
    with pytest.raises(InputError, match="compare two arms"):
        analyze(ROOT / "0", "--beside", ROOT / "1", "--arm", "stitched")
