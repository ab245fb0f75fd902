"""The page of `megadocs watch`: what is there, escaped, without scripts."""

from __future__ import annotations

from dataclasses import replace
from xml.etree import ElementTree

from megadocs.report import Curve
from megadocs.report.live import LiveGeneration, LiveRun, LiveView, build_live_page

VIEW = LiveView(
    name="<b>mine</b>",
    state="running",
    notes=["search mine: running"],
    generations=[LiveGeneration("rephrase", 30, 60, True, 41.2, "1 failed", [(0.0, 10), (5.0, 30)])],
    arms=[
        {"arm": "real_only", "kind": "real", "settings": {"ordering": None}},
        {"arm": "simple", "kind": "synthetic", "settings": {"ordering": "simple"}},
    ],
    runs=[
        LiveRun("real_only", 0, "done", 40, 40, 3.25, 4.5, 9000.4),
        LiveRun("simple", 0, "not begun", 0, None, None, None, None),
    ],
    curves=[Curve("real_only", 0, [1, 40], [6.0, 3.25], tokens_per_step=128)],
    has_report=False,
)


def test_every_number_is_there_and_names_are_escaped():
    page = build_live_page(VIEW, refresh_seconds=7)
    for words in ("30 of 60", "1 failed", "40 of 40", "3.250", "4.500", "9,000", "not begun", "search mine: running"):
        assert words in page
    assert '<meta http-equiv="refresh" content="7">' in page
    assert "<b>mine</b>" not in page
    assert "&lt;b&gt;mine" in page
    assert "<script" not in page
    assert "default-src &#39;none&#39;" in page


def test_the_curve_of_generations_starts_at_its_first_look():
    page = build_live_page(VIEW, refresh_seconds=7)
    assert 'points="0.0,36.7 240.0,22.0"' in page  # 10 and 30 of 60, in 44 pixels from the top


def test_a_workspace_in_which_nothing_has_happened_is_a_page_too():
    page = build_live_page(replace(VIEW, generations=[], arms=[], runs=[], curves=[], notes=[]), refresh_seconds=7)
    assert "Generation" not in page
    body = page[page.index("<body>") : page.index("</body>") + len("</body>")]
    ElementTree.fromstring(body)
