"""Print the changelog's section of a tag, or stop: `python .github/release_notes.py v0.1.0`.

A release needs a tag, `megadocs.__version__`, CITATION.cff and a section of CHANGELOG.md that say the same version.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def versions() -> dict[str, str]:
    """Where a version is written -> what it says."""
    package = (ROOT / "src" / "megadocs" / "__init__.py").read_text(encoding="utf-8")
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    return {
        "src/megadocs/__init__.py": re.search(r'^__version__ = "(.+)"$', package, re.MULTILINE)[1],
        "CITATION.cff": re.search(r"^version: (.+)$", citation, re.MULTILINE)[1],
    }


def notes(version: str) -> str:
    """The text below `## VERSION` in CHANGELOG.md; `SystemExit` where there is none."""
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    found = re.search(rf"^## {re.escape(version)}\b[^\n]*\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    if found is None or not found[1].strip():
        sys.exit(f"CHANGELOG.md has no section ## {version}: rename `Unreleased` to it, with the date")
    return found[1].strip() + "\n"


def main() -> None:
    """Check the tag against all versions, print the section."""
    version = sys.argv[1].removeprefix("v")
    wrong = {place: said for place, said in versions().items() if said != version}
    if wrong:
        sys.exit(f"the tag says {version}: " + ", ".join(f"{place} says {said}" for place, said in wrong.items()))
    print(notes(version), end="")


if __name__ == "__main__":
    main()
