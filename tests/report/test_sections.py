"""Every section of the page: its numbers, its links, and its absence where there is nothing to show."""

from __future__ import annotations

import re
from importlib import resources
from pathlib import Path

import pytest

from megadocs.report import build_report
from megadocs.report.sections import SECTIONS
from megadocs.report.tables import result_tables

from .fixtures_report import make_complete_inputs, make_inputs

#: What the complete inputs of the tests do not hold.
ABSENT = {"gate", "world", "stream_windows"}
NAMES = [section.name for section in SECTIONS if section.name not in ABSENT]


@pytest.fixture(scope="module")
def html() -> str:
    return build_report(make_complete_inputs())


def section(html: str, name: str) -> str:
    """The text of one section without tags, spaces joined."""
    found = re.search(rf'<section id="{name}".*?</section>', html, re.DOTALL)
    assert found is not None, name
    words = re.sub(r"<[^>]*>", " ", re.sub(r"<svg.*?</svg>", "", found[0], flags=re.DOTALL))
    return re.sub(r"\s+", " ", words.replace("&nbsp;", " "))


@pytest.mark.parametrize("name", NAMES)
def test_every_section_is_there(html: str, name: str) -> None:
    assert section(html, name)


def test_a_section_is_its_template_and_its_place_in_the_list() -> None:
    """A new figure touches three files: nothing else in the package spells a section's name as its own."""
    folder = Path(str(resources.files("megadocs.report.sections")))
    templates = {path.name.removesuffix(".html.j2") for path in folder.glob("*.j2")}
    modules = {path.stem for path in folder.glob("*.py")} - {"__init__"}
    names = {section.name for section in SECTIONS}
    assert templates == names and modules <= names
    beside = [path for path in folder.parent.iterdir() if path.suffix in (".py", ".j2") and path.name != "figures.py"]
    texts = {path.name: path.read_text(encoding="utf-8") for path in beside}
    assert [(file, name) for name in names for file, text in texts.items() if f"sections/{name}" in text] == []


def test_tables_of_two_sections_never_share_a_name() -> None:
    results = make_complete_inputs().results
    assert len(result_tables(results)) == sum(len(section.tables(results)) for section in SECTIONS)


def test_sections_without_content_are_left_out() -> None:
    plain = build_report(make_inputs())
    for name in ("positions", "benchmarks", "ensembles", "searches", "audit", "paper"):
        assert f'id="{name}"' not in plain


def test_benchmarks(html: str) -> None:
    words = section(html, "benchmarks")
    # real_only, the first arm: accuracies .55, .60, .35 plus .01 a seed over seeds 0, 1, 2
    assert "real_only 3 0.560 0.610 0.360 0.490 ± 0.028 seed 0: 0.500 1: 0.490 2: 0.480" in words
    assert "guessing 0.250 0.250 0.250" in words
    assert 'href="b/record.json"' in html


def test_ensembles(html: str) -> None:
    words = section(html, "ensembles")
    assert "real_only_x4 real_only logits 6.400 6.200 6.133 6.100 6.000" in words
    assert "simple_g8_x4 simple_g8 probabilities 5.910 5.710 5.643 5.610 5.510" in words


def test_searches_show_certificate_and_every_trial(html: str) -> None:
    words = section(html, "searches")
    assert "real_only: edge (tuning; ended by max runs)" in words
    assert "weight_decay = 0.8; validation loss 6.4400 over 2 seeds, test 6.5120. 9 trials, 1 failed" in words
    assert "at 3 of 12 settings, 3,600,000 tokens, 2.9e13 FLOPs" in words
    assert "1.6 + 6.5000 +0.0600 ± 0.0100 worse" in words
    assert "past the edge of the grid" in words
    assert "0.8 0 6.4300 6.5100 400,000" in words
    assert "not a number &lt;b&gt;" in words
    assert f'href="train/{"ab" * 10}/record.json"' in html


def test_audit(html: str) -> None:
    words = section(html, "audit")
    assert "validation 300 40,000 1.25 % 0.20 % 0.05 % 12 3 1" in words
    assert "8-grams copied from the source, mean (5 % to 95 %) 25.0 % (5.0 % to 75.0 %)" in words
    assert "texts copied by more than 80 % 2.0 %" in words
    assert "new tokens, mean (5 % to 95 %) 126 (40 to 160)" in words
    assert "finish reason: length 33 (30.0 %)" in words
    assert "texts in another language 1.0 %" in words
    assert "The President &lt;i&gt;said&lt;/i&gt; … 12.0 %" in words
    assert 'href="audit.json"' in html


def test_compute_compares_at_equal_compute(html: str) -> None:
    words = section(html, "compute")
    assert words.index("real_only") < words.index("simple_g8_e16")  # cheapest first
    assert "no other arm of this compute" in words
    assert "reference" in words


def test_what_intervals_cover_and_what_verdicts_hold_after_is_said(html: str) -> None:
    assert "cover the scatter of the runs and not other documents" in section(html, "laws")
    assert "understates what is not known" in section(html, "ensembles")
    assert "the verdict after Holm's correction over all comparisons of that table" in section(html, "compute")
    assert "none is better; edge: the same, but the grid ends there" in section(html, "searches")
    assert "intervals are not corrected, so one may leave out 0" in section(html, "losses")


def test_words_hold_in_every_colour_scheme_and_width(html: str) -> None:
    """White lines on a dark page are not black, and panels stand one below the other on a narrow one."""
    captions = " ".join(re.findall(r"<figcaption>.*?</figcaption>", html, re.DOTALL))
    assert not re.search(r"\b(black|white|right|below|above)\b", captions, re.IGNORECASE)


def test_every_axis_has_its_unit(html: str) -> None:
    labels = set(re.findall(r'class="axis"[^>]*>([^<]*)<', html))
    units = (
        "nats per token",
        "tokens",
        "error",
        "steps",
        "FLOPs",
        "(G)",
        "epochs",
        "fraction",
        "members",
        "parameters",
    )
    assert labels and all(any(unit in label for unit in units) for label in labels), labels


def test_paper_section_offers_compute_on_the_axis(html: str) -> None:
    assert 'id="axis-compute"' in html
    found = re.search(r'<section id="paper".*?</section>', html, re.DOTALL)
    assert found is not None
    assert found[0].count("by-compute") == found[0].count("by-size") >= 1
    assert "training compute, FLOPs" in found[0]
    words = section(html, "paper")
    assert "Benchmark error against generations" in words
    assert "latent thoughts +9 %" in words
    assert "Controlled against tuned" in words


def test_every_point_leads_to_the_row_of_its_arm(html: str) -> None:
    rows = set(re.findall(r'<tr id="(arm-\d+)"', html))
    links = set(re.findall(r'<a href="#(arm-\d+)">', html))
    assert links
    assert links <= rows
