from __future__ import annotations

import re

import pytest

from megadocs.generate.long_documents import fitting_spans


class Words:
    def offsets(self, text: str) -> list[tuple[int, int]]:
        return [found.span() for found in re.finditer(r"\s*\S+", text)]


TEXT = "\n\n".join(" ".join(f"{letter}{number}" for number in range(10)) for letter in "abcdef")  # 60 tokens


def shown(policy: str, budget: int, text: str = TEXT) -> list[str | None]:
    spans = fitting_spans(text, budget, policy, Words())  # type: ignore[arg-type]
    return [None if span.skip else text if span.characters is None else text[slice(*span.characters)] for span in spans]


@pytest.mark.parametrize("policy", ["split", "truncate", "skip"])
def test_what_fits_is_left_alone(policy: str) -> None:
    assert fitting_spans(TEXT, 60, policy, Words())[0].characters is None  # type: ignore[arg-type]


def test_skip_and_truncate() -> None:
    assert shown("skip", 59) == [None]
    (cut,) = shown("truncate", 25)
    assert cut is not None
    assert TEXT.startswith(cut)
    assert len(cut.split()) == 25
    assert fitting_spans(TEXT, 25, "truncate", Words())[0].is_truncated


@pytest.mark.parametrize("budget", [1, 2, 7, 10, 11, 20, 25, 59])
def test_split_loses_nothing_and_prefers_paragraphs(budget: int) -> None:
    parts = shown("split", budget)
    assert "".join(part or "" for part in parts) == TEXT
    assert all(part and 0 < len(part.split()) <= budget for part in parts)
    if budget in (10, 11, 20, 25):
        assert all(part and part.split()[0][1:] == "0" for part in parts)  # every part begins a paragraph


def test_a_paragraph_that_is_too_long_is_cut_between_tokens() -> None:
    text = " ".join(f"w{number}" for number in range(50))
    parts = shown("split", 20, text)
    assert [len((part or "").split()) for part in parts] == [20, 20, 10]


def test_without_a_tokenizer_lengths_are_guessed_on_the_safe_side() -> None:
    text = "word " * 1000
    (span,) = fitting_spans(text, 1000, "truncate", None)
    assert span.characters is not None
    assert span.characters[1] < 3000
    assert fitting_spans("x" * 100, 100, "skip", None)[0].skip is None
