"""The page: complete, closed to the outside, hostile text harmless, the same bytes when built again."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import re
from html.parser import HTMLParser

import pytest

from megadocs.analysis import analyze_experiment
from megadocs.recipe import AnalysisConfig
from megadocs.report import ReportInputs, build_report

from .fixtures_report import experiment, make_complete_inputs, make_inputs


class Page(HTMLParser):
    """Tags, attributes and ids of a page, with its nesting checked."""

    VOID = ("meta", "link", "br", "img", "hr", "input")

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.fixture(scope="module")
def html() -> str:
    return build_report(make_inputs())


@pytest.fixture(scope="module")
def page(html: str) -> Page:
    return Page(html)


def test_pairs_say_whether_compute_is_matched(html: str) -> None:
    assert "tokens trained on</th>" in html
    assert html.count("matched</td>") == 3  # all three synthetic arms of the fixture have the same number of steps


def test_every_value_of_a_seed_names_its_seed() -> None:
    html = build_report(make_complete_inputs())
    lists = re.findall(r'<div class="seeds">(.*?)</div>', html, re.DOTALL)
    assert len(lists) > 50
    named = [re.findall(r'<span><span class="quiet">((?:seed )?\d+:)</span> ', values) for values in lists]
    assert all(values.count("</span> ") == 2 * len(names) for values, names in zip(lists, named, strict=True))
    assert {names[0] for names in named} == {"seed 0:"}


def test_what_our_sentences_quote_is_code_and_not_backticks(html: str) -> None:
    inputs = make_inputs()
    quoted = ["Tune it first (`tune: auto`, or `megadocs search`).", "In `<b>`, and an odd ` alone."]
    page = build_report(dataclasses.replace(inputs, results=inputs.results | {"answer": quoted}))
    assert "Tune it first (<code>tune: auto</code>, or <code>megadocs search</code>)." in page
    assert "In <code>&lt;b&gt;</code>, and an odd ` alone." in page


def test_same_bytes_when_built_again(html: str) -> None:
    assert build_report(make_inputs()) == html


def test_the_answer_comes_first(html: str) -> None:
    assert html.index("Synthetic text was worth") < html.index("<figure>") < html.index("<table>")


def test_well_formed_with_unique_ids(page: Page) -> None:
    assert page.open == []
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    referenced = " ".join(a["aria-labelledby"] or "" for _, a in page.tags if "aria-labelledby" in a).split()
    assert set(referenced) <= set(ids)


def test_nothing_is_fetched_and_nothing_runs(page: Page) -> None:
    assert not [tag for tag, _ in page.tags if tag in ("script", "iframe", "img", "object", "form", "video")]
    for _, attributes in page.tags:
        assert not any(name.startswith("on") or name == "style" or name == "src" for name in attributes)
        link = attributes.get("href") or ""
        assert link in ("", "data:,") or not re.match(r"[a-z]+:|/", link)


def test_policy_allows_exactly_the_style_sheet(html: str, page: Page) -> None:
    style = re.search(r"<style>(.*)</style>", html, re.DOTALL)
    assert style is not None
    digest = base64.b64encode(hashlib.sha256(style[1].encode()).digest()).decode()
    policy = next(a["content"] for tag, a in page.tags if a.get("http-equiv") == "Content-Security-Policy")
    assert policy is not None
    assert policy.startswith("default-src 'none'")
    assert f"style-src 'sha256-{digest}'" in policy
    assert "unsafe" not in policy


def test_hostile_text_is_shown_not_obeyed(html: str) -> None:
    assert "<script" not in html
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in html
    for character in "\x07\x1b\u202e\u200b":
        assert character not in html
    assert r"\u{202e}" in html
    assert r"\u{1b}" in html


def test_accessible_tables_and_figures(page: Page) -> None:
    assert all("scope" in attributes for tag, attributes in page.tags if tag == "th")
    drawings = [a for tag, a in page.tags if tag == "svg" and "aria-hidden" not in a]
    assert len(drawings) == 6
    assert all(a.get("role") == "img" and a.get("aria-labelledby") for a in drawings)


def test_every_seed_links_to_its_record(html: str) -> None:
    for run in experiment.make_experiment().runs:
        assert f'href="{run.record}"' in html


@pytest.mark.parametrize("record", ["javascript:alert(1)", "//host/x", "/etc/passwd", "../../x", "a\\b"])
def test_a_record_path_cannot_lead_elsewhere(record: str) -> None:
    fixture = experiment.make_experiment()
    runs = [dataclasses.replace(run, record=record) for run in fixture.runs]
    html = build_report(make_inputs(experiment.Experiment(fixture.scores, runs, fixture.expected)))
    assert f'href="{record}' not in html


def test_missing_and_nan_are_shown_as_such() -> None:
    fixture = experiment.make_experiment()
    scores = [
        dataclasses.replace(t, sum_nll=t.sum_nll * float("nan")) if t.arm == "simple" else t
        for t in fixture.scores
        if t.arm != "latent_thoughts"
    ]
    runs = [run for run in fixture.runs if run.arm != "latent_thoughts"]
    html = build_report(make_inputs(experiment.Experiment(scores, runs, fixture.expected)))
    assert "no finished run" in html
    assert ">NaN<" in html
    assert not re.search(r"\bnan\b", html)
    Page(html)


def test_a_page_of_results_alone() -> None:
    fixture = experiment.make_experiment({"real_only": (5.0, 1, 0, 8.0), "simple": (4.8, 1, 9000, 8.0)}, seeds=(0,))
    results = analyze_experiment(fixture.scores, fixture.runs, AnalysisConfig(num_bootstrap=100))
    html = build_report(ReportInputs(results=results))
    assert "No samples were given" in html
    assert "is not known" in html
    assert Page(html).open == []


def test_the_papers_figures_stand_beside_own_runs() -> None:
    html = build_report(make_inputs(experiment.make_paper_experiment()))
    assert "Beside the paper" in html
    assert "Loss against generations, tuned" in html
    assert "arXiv:2603.18534" in html
    assert "Published values: not available." in html  # the controlled comparison
    assert "Self-distillation: published" in html  # no run of this kind here
    page = Page(html)
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids))


def test_a_plain_experiment_does_not_speak_of_the_paper(html: str) -> None:
    assert "Beside the paper" not in html
