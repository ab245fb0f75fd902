"""The law over ensemble members with its exponent held: against closed forms and a measured ensemble."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from megadocs.analysis.member_law import EXPONENT_RANGE, member_law

SMALL = Path(__file__).parents[2] / "results" / "small" / "results.json"


def at(found, size: float) -> float:
    law = found["law"]
    return law["asymptote"] + law["coefficient"] / size ** law["exponent"]


def test_one_and_two_members_of_the_small_result_predict_four() -> None:
    rows = json.loads(SMALL.read_text())["ensembles"]
    measured = {
        row["num_members"]: row["loss"]
        for row in rows
        if (row["ensemble"], row["set"], row["mode"], row["average"]) == ("real_only_x4", "test", "windowed", "logits")
    }
    found = member_law([1, 2], [measured[1], measured[2]])
    assert found["is_exponent_assumed"]
    assert round(at(found, 4), 4) == 5.0081
    assert round(measured[4], 4) == 5.0083
    assert at(found, 4) == pytest.approx(measured[4], abs=3e-4)


@pytest.mark.parametrize("exponent", [0.93, 1.0, 1.1])
def test_a_law_inside_the_range_is_found(exponent: float) -> None:
    sizes = [1.0, 2.0, 3.0, 4.0]
    found = member_law(sizes, [3.0 + 0.4 * size**-exponent for size in sizes])
    assert found["law"]["exponent"] == pytest.approx(exponent, abs=1e-3)
    assert found["law"]["asymptote"] == pytest.approx(3.0, abs=1e-3)
    low, high = found["asymptote_band"]
    assert low < 3.0 < high


def test_a_law_outside_the_range_is_held_at_its_end() -> None:
    sizes = [1.0, 2.0, 3.0, 4.0]
    found = member_law(sizes, [3.0 + 0.4 * size**-0.5 for size in sizes])
    assert found["law"]["exponent"] == EXPONENT_RANGE[0]


def test_two_sizes_by_hand() -> None:
    found = member_law([1, 2], [4.0, 3.5])
    assert found["law"] == pytest.approx({"coefficient": 1.0, "exponent": 1.0, "asymptote": 3.0})
    ends = [4.0 - 0.5 / (1 - 2.0**-b) for b in EXPONENT_RANGE]
    assert found["asymptote_band"] == pytest.approx(ends)


@pytest.mark.parametrize(
    ("sizes", "losses"), [([1], [3.0]), ([1, 2, 6], [3.0, 2.0, 1.0]), ([1, 2], [3.0, math.nan]), ([], [])]
)
def test_no_law(sizes, losses) -> None:
    assert member_law(sizes, losses) is None
