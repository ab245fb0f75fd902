"""The arithmetic of room for order."""

from __future__ import annotations

import pytest

from megadocs.streams.room import formation_tokens, room_for_order


def test_formation_tokens_of_the_papers_runs() -> None:
    assert formation_tokens(64, 4096) == pytest.approx(257e6, rel=0.01)  # docs/facts.md, section 4


def test_what_a_window_holds() -> None:
    room = room_for_order(context_length=4096, row_tokens=640, megadoc_tokens=20_480)
    assert room == {"rows_per_window": 6.4, "windows_per_megadoc": 5.0}


def test_formation_tokens_grow_with_the_root_of_a_batch() -> None:
    assert formation_tokens(1, 1) == pytest.approx(501_187.2336)  # 10**5.7
    assert formation_tokens(16, 1) == pytest.approx(4 * 501_187.2336)
    assert formation_tokens(1, 4) == pytest.approx(2 * 501_187.2336)
