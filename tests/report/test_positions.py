"""Long documents on the page: ranges merged by their targets, both panels, the tested loss past a position."""

from __future__ import annotations

import re

import pytest

from megadocs.report import build_report
from megadocs.report.sections.positions import SECTION
from megadocs.report.tables import result_tables

from .fixtures_report import make_complete_inputs, make_inputs


@pytest.fixture(scope="module")
def html() -> str:
    return build_report(make_complete_inputs())


def test_short_ranges_are_one_weighted_by_their_targets() -> None:
    (view,) = SECTION.view(make_complete_inputs())["positions"]
    assert [row["from"] for row in view["ranges"]] == [0, 64, 128, 256]
    assert view["ranges"][0] == {"from": 0, "to": 64, "num_tokens": 40}
    real = next(row for row in view["rows"] if row["arm"] == "real_only")
    # ranges 0-1 (no targets), 1-32 (10 targets of 8.0 nats) and 32-64 (30 of 6.0)
    assert real["seeds"][0]["losses"] == pytest.approx([6.5, 5.5, 5.0, 4.5])
    assert real["losses"] == pytest.approx([6.51, 5.51, 5.01, 4.51])


def test_the_section_has_both_panels_tests_and_every_record(html: str) -> None:
    found = re.search(r'<section id="positions".*?</section>', html, re.DOTALL)
    assert found is not None
    section = found[0]
    for panel in ("positions-0-losses", "positions-0-differences"):
        assert f'id="{panel}-title"' in section
    assert "A model sees 128 tokens at once" in section
    assert "Past position 100" in section
    assert "no document is that long" in section
    assert section.count('href="extra_set/') >= 6
    assert "NaN" in section  # a range that one arm could not be scored on is not a number, and says so


def test_the_csv_holds_the_ranges_as_they_were_measured() -> None:
    rows = result_tables(make_complete_inputs().results)["positions"]
    first = [row for row in rows if (row["arm"], row["seed"]) == ("real_only", 0)]
    assert [(row["from_position"], row["num_tokens"]) for row in first] == [
        (0, 0), (1, 10), (32, 30), (64, 60), (128, 100), (256, 80),
    ]  # fmt: skip


def test_nothing_was_scored_by_position() -> None:
    assert SECTION.view(make_inputs()) is None
