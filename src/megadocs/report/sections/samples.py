"""Real documents beside the text that was written from them, thoughts marked where they were inserted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from megadocs.report.inputs import Generated, ReportInputs, Sample
from megadocs.report.section import Section, View

_MAX_SAMPLES = 12
_MAX_CHARACTERS = 12_000


def _view(inputs: ReportInputs) -> View:
    return {"samples": [_sample_view(sample) for sample in inputs.samples[:_MAX_SAMPLES]]}


def _sample_view(sample: Sample) -> dict[str, Any]:
    """A document cut at its thoughts' split points, and its generations in order."""
    thoughts = sorted(
        (item for item in sample.generations if item.split_character is not None),
        key=lambda item: (item.split_character or 0, item.generation),
    )
    return {
        "id": sample.document_id,
        "pieces": _pieces(_shortened(sample.text), thoughts),
        "generations": [
            {
                "item": item,
                "text": _shortened(item.text),
                "mark": thoughts.index(item) + 1 if item in thoughts else None,
            }
            for item in sorted(sample.generations, key=lambda item: (item.kind, item.generation))
        ],
    }


def _pieces(text: str, thoughts: Sequence[Generated]) -> list[dict[str, Any]]:
    """The text between split points; each piece but the last is followed by the mark of a thought."""
    pieces, start = [], 0
    for mark, thought in enumerate(thoughts, start=1):
        end = min(max(thought.split_character or 0, start), len(text))
        pieces.append({"text": text[start:end], "mark": mark})
        start = end
    return [*pieces, {"text": text[start:], "mark": None}]


def _shortened(text: str) -> str:
    if len(text) <= _MAX_CHARACTERS:
        return text
    return f"{text[:_MAX_CHARACTERS]} … ({len(text) - _MAX_CHARACTERS:,} more characters)"


SECTION = Section("samples", "Sample documents", _view)
