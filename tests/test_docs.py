"""The documentation says what the code does: references are up to date, the README's commands and links exist."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from megadocs.cli import VERBS

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]


@pytest.mark.parametrize("builder", ["build_reference.py", "build_figures.py"])
def test_what_is_built_is_up_to_date(builder):
    checked = subprocess.run(
        [sys.executable, str(ROOT / "docs" / builder), "--check"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_commands_in_the_pages_exist():
    for page in PAGES:
        for verb in re.findall(r"^ {4}(?:\.venv/bin/)?megadocs ([a-z]+)", page.read_text(encoding="utf-8"), re.M):
            assert verb in VERBS, f"{page.name}: megadocs {verb}"


def test_make_targets_in_the_pages_exist():
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.M))
    targets |= set(re.search(r"^((?:bench-\w+ )+bench-\w+):", (ROOT / "Makefile").read_text(), re.M)[1].split())
    for page in PAGES:
        for target in re.findall(r"^ {4}make ([a-z-]+)", page.read_text(encoding="utf-8"), re.M):
            assert target in targets, f"{page.name}: make {target}"


def test_the_readme_is_short():
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) < 200


def test_links_lead_somewhere():
    for page in PAGES:
        for link in re.findall(r"(?:\]\(|src=\"|srcset=\")([^)#:\"]+)[)\"]", page.read_text(encoding="utf-8")):
            assert (page.parent / link).exists(), f"{page.name}: {link}"
