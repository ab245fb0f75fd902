"""The documentation site: every link of every page leads somewhere. Needs no generator; CI builds with it."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def load():
    spec = importlib.util.spec_from_file_location("build_site", ROOT / "docs" / "build_site.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def site():
    return load()


@pytest.fixture(scope="module")
def staged(site, tmp_path_factory):
    """All pages as plain files; staging them has checked every link and every anchor."""
    folder = tmp_path_factory.mktemp("site") / "docs"
    site.stage(folder)
    return folder


def test_every_page_is_there_as_markdown_and_listed_for_programs(site, staged):
    listed = re.findall(r"\]\(([^)]+)\)", (staged / "llms.txt").read_text(encoding="utf-8"))
    assert sorted(listed) == sorted(site.sources().values())
    for place in listed:
        assert (staged / place).read_text(encoding="utf-8").strip()


def test_the_reports_of_the_results_are_pages(staged):
    reports = sorted(path.parent.relative_to(ROOT / "results") for path in (ROOT / "results").rglob("report.html"))
    page = (staged / "reports.md").read_text(encoding="utf-8")
    assert reports
    for name in reports:
        assert (staged / "reports" / name / "report.html").is_file()
        assert f"(reports/{name.as_posix()}/report.html)" in page


@pytest.mark.parametrize(
    "text",
    ["[gone](gone.md)", "[gone](search.md#no-such-heading)", '<img src="images/gone.svg">', "[out](../../outside.md)"],
)
def test_a_link_that_leads_nowhere_stops_the_build(site, tmp_path, monkeypatch, text):
    read = Path.read_text

    def with_link(path, *arguments, **keywords):
        return read(path, *arguments, **keywords) + (f"\n{text}\n" if path.name == "training.md" else "")

    site.anchors.cache_clear()
    monkeypatch.setattr(Path, "read_text", with_link)
    with pytest.raises(SystemExit, match="lead nowhere"):
        site.stage(tmp_path / "docs")
    site.anchors.cache_clear()


def test_a_page_outside_of_the_navigation_stops_the_build(site, tmp_path, monkeypatch):
    monkeypatch.setattr(site, "NAVIGATION", site.NAVIGATION[:-2])
    with pytest.raises(SystemExit, match=r"docs/glossary\.md"):
        site.stage(tmp_path / "docs")


def test_the_built_site_loads_nothing_from_elsewhere(site, tmp_path):
    (tmp_path / "a.html").write_text('<h1 id="top">A</h1><a href="b.html#there">b</a><img src="c.svg">')
    (tmp_path / "b.html").write_text('<script src="https://elsewhere.example/x.js"></script><a href="a.html#top">a</a>')
    faults = sorted(site.faults_of(tmp_path))
    assert faults == [
        "a.html links to b.html#there: no such place",
        "a.html loads c.svg, which is not there",
        "b.html loads https://elsewhere.example/x.js",
    ]


@pytest.mark.slow
def test_the_generator_builds_it_strictly(tmp_path):
    pytest.importorskip("material")
    command = [sys.executable, str(ROOT / "docs" / "build_site.py"), "--site", str(tmp_path / "site")]
    built = subprocess.run(command, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stdout + built.stderr
    assert (tmp_path / "site" / "start" / "laptop.html").is_file()
    assert (tmp_path / "site" / "start" / "laptop.md").is_file()
    assert (tmp_path / "site" / "llms.txt").is_file()
    assert (tmp_path / "site" / "search" / "search_index.js").is_file()
