"""The section of sample windows: rows and siblings marked, foreign text harmless, no style outside the one sheet."""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import replace

from megadocs.report import StreamWindow, build_report
from megadocs.streams import WindowPiece

from .fixtures_report import make_inputs


def stream_windows_section(windows: list[StreamWindow]) -> str:
    page = build_report(replace(make_inputs(), windows=windows))
    found = re.search(r'<section id="stream_windows".*?</section>', page, flags=re.DOTALL)
    return found[0] if found else ""


def piece(document: str, kind: str, generation: int = 0, text: str = "text", **options: bool) -> WindowPiece:
    return WindowPiece(document, kind, generation, 7, options.get("begins", True), options.get("ends", True), text)


def test_siblings_share_a_colour_and_a_letter() -> None:
    pieces = [
        piece("one", "rephrase", 1, begins=False),
        piece("one", "real"),
        piece("two", "latent_thoughts", 4, ends=False),
    ]
    html = stream_windows_section([StreamWindow(["a", "b"], "stitched", 0, ["3 rows"], pieces)])
    assert re.findall(r'class="piece (colour-\d)( is-real)?"', html) == [
        ("colour-1", ""),
        ("colour-1", " is-real"),
        ("colour-2", ""),
    ]
    labels = re.findall(r'class="row-label">([^<]*)<', html)
    assert labels == [
        "A: rephrase 2, 7 tokens, begins before · one",
        "A: real document, 7 tokens · one",
        "B: latent thoughts, G = 4, 7 tokens, goes on after · two",
    ]
    assert "<summary>Stream stitched of arms a, b</summary>" in html


def test_many_documents_get_letters_of_their_own() -> None:
    pieces = [piece(f"document {number}", "real") for number in range(30)]
    html = stream_windows_section([StreamWindow(["a"], "real", 0, (), pieces)])
    letters = re.findall(r'class="row-label">(\w+):', html)
    assert letters[24:29] == ["Y", "Z", "AA", "AB", "AC"]


def test_foreign_text_is_escaped_and_hidden_characters_are_shown() -> None:
    pieces = [piece("<b>", "real", text="<script>alert(1)</script>\u202e")]
    windows = [StreamWindow(["a<i>"], "s<u>", 0, ["<em>"], pieces), StreamWindow(["c"], "x", 0, absent="<gone>")]
    html = stream_windows_section(windows)
    for tag in ("<script", "<b>", "<i>", "<u>", "<em>", "<gone>"):
        assert tag not in html
    assert "\\u{202e}" in html
    assert "style=" not in html


def test_a_long_window_is_cut_and_nothing_gives_nothing() -> None:
    pieces = [piece(str(number), "real", text="x" * 5000) for number in range(5)]
    html = stream_windows_section([StreamWindow(["a"], "real", 0, (), pieces)])
    assert html.count("x" * 5000) == 1
    assert "3 more rows" in html
    assert stream_windows_section([]) == ""


def test_the_page_holds_the_section_and_its_policy_covers_the_style() -> None:
    windows = [StreamWindow(["a"], "stitched", 0, (), [piece("one", "real")])]
    page = build_report(replace(make_inputs(), windows=windows))
    assert '<section id="stream_windows"' in page
    (style,) = re.findall(r"<style>(.*?)</style>", page, flags=re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert f"style-src 'sha256-{digest}'" in page.replace("&#39;", "'")
    assert '<section id="stream_windows"' not in build_report(make_inputs())
