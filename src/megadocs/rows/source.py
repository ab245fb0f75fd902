"""What the row builders take in: texts with their provenance, before tokenisation.

`real_sources` and `stretched_sources` turn documents and generations into `SourceRow`s, one at a time, so that a store
larger than memory streams through.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from megadocs.documents import Document
from megadocs.errors import InputError
from megadocs.kinds import REAL, RowKind, Tags
from megadocs.rows.generations import Generation


@dataclass(frozen=True, slots=True)
class SourceRow:
    """One row to be tokenised."""

    document_id: str  # the source document; unconditional samples use their own identity
    kind: str
    generation: int  # index of the sample; stretched rows: their G; real: 0
    text: str  # without separators
    num_missing_thoughts: int = 0  # thoughts that a stretched row should hold and does not


def real_sources(documents: Iterable[Document]) -> Iterator[SourceRow]:
    """Each document as it is."""
    for document in documents:
        if not document.text:
            raise InputError("the document is empty", where=document.id, remedy="the corpus readers drop such records")
        yield SourceRow(document.id, REAL, 0, document.text)


def stretched_sources(
    documents: Sequence[Document],
    thoughts: Iterable[Generation],
    *,
    num_generations: int,
    kind: RowKind,
    tags: Tags,
) -> Iterator[SourceRow]:
    """Each document with its thoughts, in the order of document ids.

    Args:
        thoughts: every thought asked for with this G, sorted by document id; those not ok leave the text unbroken.
        num_generations: G; the rows' generation.
        kind: a stretched one.
        tags: around each thought.
    """
    assert kind.text is not None
    groups = _grouped(thoughts)
    document_id, group = next(groups, (None, []))
    for document in sorted(documents, key=lambda document: document.id):
        while document_id is not None and document_id < document.id:
            document_id, group = next(groups, (None, []))
        own = group if document_id == document.id else []
        ok = [item.written for item in own if item.is_usable]
        missing = num_wanted_thoughts(document, len(own), num_generations) - len(ok)
        try:
            text = kind.text(document.text, ok, tags)
        except InputError as error:
            raise InputError(error.what, where=document.id, remedy=error.remedy) from error
        yield SourceRow(document.id, kind.name, num_generations, text, missing)


def num_wanted_thoughts(document: Document, num_asked: int, num_generations: int) -> int:
    """Thoughts the document should have: G, or as many as were asked for where it is too short for G split points.

    A text has fewer split points than G when it has at most G tokens; tokens of real text are seldom over 8 characters.
    """
    if len(document.text) < 8 * (num_generations + 1):
        return num_asked
    return num_generations


def _grouped(thoughts: Iterable[Generation]) -> Iterator[tuple[str, list[Generation]]]:
    """Thoughts by document, in order; refuses an order that would lose some."""
    current, group = None, list[Generation]()
    for thought in thoughts:
        if thought.document_id is None:
            continue
        if thought.document_id != current:
            if current is not None:
                if thought.document_id < current:
                    raise InputError("the generations are not sorted by document id", where=thought.document_id)
                yield current, group
            current, group = thought.document_id, []
        group.append(thought)
    if current is not None:
        yield current, group
