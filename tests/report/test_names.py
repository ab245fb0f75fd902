"""Names as labels: both ends stay, different names stay different, and the width is enough for any letters."""

from __future__ import annotations

import re

import pytest

from megadocs.report import build_report
from megadocs.report.names import middle_cut, short_names, text_width

from .fixtures_report import make_complete_inputs, with_long_names


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


@pytest.fixture(scope="module")
def long_page() -> str:
    return build_report(with_long_names(make_complete_inputs()))


def test_no_label_leaves_its_drawing(long_page: str) -> None:
    """At either size, by the upper estimate of a text's width."""
    drawings = list(
        re.finditer(r'<svg class="(?:wide|narrow|panel)" viewBox="0 0 (\d+) .*?</svg>', long_page, re.DOTALL)
    )
    assert len(drawings) > 10
    outside = []
    for found in drawings:
        texts = re.findall(r'<text class="[^"]*" x="([-\d.]+)" y="[-\d.]+" text-anchor="(\w+)">([^<]*)<', found.group())
        for x, anchor, words in texts:
            width = text_width(words)
            left = float(x) - {"start": 0.0, "middle": width / 2, "end": width}[anchor]
            if left < -1 or left + width > float(found.group(1)) + 1:
                outside.append((words, anchor, left, left + width))
    assert outside == []


def test_a_table_shows_no_name_in_full_that_would_widen_it(long_page: str) -> None:
    tables = re.findall(r'<div class="table.*?</table>', long_page, re.DOTALL)
    words = [word for table in tables for word in re.findall(r"[^\s<>]+", re.sub(r"<[^>]*>", " ", table))]
    assert sum("…" in word for word in words) > 100
    assert max(map(len, words)) <= 32
