"""Names as labels: both ends stay, different names stay different, and the width is enough for any letters."""

from __future__ import annotations

import pytest

from megadocs.report.names import middle_cut, short_names, text_width


def test_a_short_name_is_itself() -> None:
    assert middle_cut("simple", 6) == "simple"
    assert short_names(["a", "b", "a"], 3) == {"a": "a", "b": "b"}


@pytest.mark.parametrize("most", [8, 18, 24])
def test_both_ends_are_kept(most: int) -> None:
    short = middle_cut("stitched_g8_without_the_real_document", most)
    assert len(short) == most
    assert short[0] == "s"
    assert short[-1] == "t"
    assert "…" in short


def test_names_that_differ_anywhere_stay_different() -> None:
    names = ["A" * place + "b" + "A" * (79 - place) for place in range(80)]
    short = short_names(names, 24)
    assert len(set(short.values())) == 80
    assert max(map(len, short.values())) == 24


def test_the_width_covers_the_widest_letters() -> None:
    assert text_width("A" * 24) > 24 * 0.72 * 11.5  # Liberation Sans Bold: A takes 0.722 em
    assert text_width("文" * 10) >= 10 * 11.5
    assert text_width("illi") < text_width("MWMW") / 2
