"""The field's standard terms: words that were replaced do not come back."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
#: What was found -> what the field says.
REPLACED = {
    r"go(es|ing)? on from": "continue from",
    r"carr(y|ies|ied) out": "run",
    r"in vain|in_vain": "wasted",
    r"dearest": "most expensive",
    r"the books|books of|\bbooks\b": "accounting",
    r"mend(s|ed|ing)?": "fix, repair, restart",
    r"told apart|tell \w+ apart|parted": "separated, distinguished, split",
    r"whoever looks": "name who reads it",
    r"in good order": "gracefully",
    r"hopeless": "early stopping",
    r"further sets?": "additional set",
    r"whatever these need": "what they depend on",
    r"way from memory": "memory traffic, bandwidth",
}
FILES = sorted(
    path
    for folder in ("src", "docs", "recipes")
    for path in (ROOT / folder).rglob("*")
    if path.suffix in (".py", ".md", ".yaml", ".j2") and path.is_file()
) + [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md")]


@pytest.mark.parametrize("word", REPLACED)
def test_a_replaced_word_stays_away(word: str) -> None:
    found = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()[:100]}"
        for path in FILES
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1)
        if re.search(rf"\b({word})\b", line, re.IGNORECASE)
    ]
    assert found == [], f"write: {REPLACED[word]}"
