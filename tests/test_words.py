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
    r"gone on|goes? on from": "continued, continue from",
    r"parts? from each other|parted|tell apart": "separated, split",
    r"looks? on|hears?|how it goes": "receives progress",
    r"whoever": "name who does it",
    r"extra (evaluation )?sets?|further_sets?": "additional set",
    r"beside its steps": "per-run overhead",
    r"begins? no (further |later )?(trial|run)s?": "start no new trial",
    r"so many nats": "the margin",
    r"it is not compared": "say who does not compare what",
    r"leash(ed)?": "supervisor",
    r"played (through|searches|clock)": "simulated",
    r"weather": "transient",
    r"dear|dearer|costliest": "expensive",
    r"turns_\w+|\w+_turns": "freqs_cis, angles",
}
FILES = sorted(
    path
    for folder in ("src", "docs", "recipes")
    for path in (ROOT / folder).rglob("*")
    if path.suffix in (".py", ".md", ".yaml", ".j2") and path.is_file()
) + [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md")]
#: The icons of the site's theme.
ALLOWED = {"material/weather-sunny"}


@pytest.mark.parametrize("word", REPLACED)
def test_a_replaced_word_stays_away(word: str) -> None:
    found = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()[:100]}"
        for path in FILES
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1)
        if re.search(rf"\b({word})\b", line, re.IGNORECASE) and not any(name in line for name in ALLOWED)
    ]
    assert found == [], f"write: {REPLACED[word]}"


def test_indices_are_called_indices() -> None:
    """`for number, item in enumerate(...)` only where it counts lines from 1, which people read."""
    loop = re.compile(r"\bfor \(?(number|place), .* in enumerate\((?!.*start=1)")
    found = [
        f"{path.relative_to(ROOT)}:{number}"
        for path in (ROOT / "src").rglob("*.py")
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1)
        if loop.search(line)
    ]
    assert found == []
