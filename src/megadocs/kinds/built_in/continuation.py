"""Continuations: the generator continues the document's first half. The literature's negative control.

It adds the generator's own text to what the document says, without restating it: what such rows gain, the generator's
knowledge and style give by themselves. A row is the first half as it is, with what was written after it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from megadocs.errors import InputError
from megadocs.kinds.ordering import Contrast, OrderingSpec
from megadocs.kinds.orders import simple
from megadocs.kinds.registry import Kind
from megadocs.kinds.row import RowKind, Tags, Written
from megadocs.kinds.task import Spans, TaskKind, equal_cuts


def cut_in_half(spans: Spans, text: str, num_generations: int) -> list[int]:
    """The same cut for every generation, at half of the document's tokens; none for a text of one token."""
    return equal_cuts(spans, text, 1) * num_generations


def show(text: str, cut: int | None) -> Mapping[str, str]:
    """The prompt shows the first half; what really follows stays unseen."""
    return {"prefix": text[:cut]}


def text_of(document: str, written: Sequence[Written], tags: Tags) -> str:
    """The first half, then what the generator went on with; a space between them where there is none.

    Raises:
        InputError: the cut lies outside the document.
    """
    cut, text = written[0]
    if cut is None or not 0 <= cut <= len(document):
        raise InputError(
            f"a continuation from character {cut} does not fit a text of {len(document)}",
            remedy="it belongs to another version of the document: generate it again",
        )
    begin = document[:cut]
    return f"{begin}{'' if begin[-1:].isspace() else ' '}{text}"


KIND = Kind(
    task=TaskKind(
        "continuation",
        frozenset({"prefix"}),
        show,
        style="go_on",
        max_new_tokens=512,
        cut=cut_in_half,
        shown_fraction=0.5,
    ),
    rows=(RowKind("continuation", 6, text_of, task="continuation"),),
    orderings=(
        OrderingSpec(
            "continuation",
            simple,
            ("continuation",),
            adds_real=True,
            role="control",
            contrast=Contrast(
                "simple", "first halves that the generator continues", "that a rephrase restates its document"
            ),
        ),
    ),
)
