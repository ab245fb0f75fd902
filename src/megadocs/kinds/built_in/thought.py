"""Latent thoughts: what is not written between two parts of a document, put back between them, behind it, or merged.

One thought is asked for at each of G split points that cut the document into G + 1 parts of equal token count. Split
points of another G lie elsewhere, so thoughts do not nest.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from megadocs.errors import InputError
from megadocs.kinds.built_in.rephrase import KIND as REPHRASE
from megadocs.kinds.ordering import Contrast, Int64Array, OrderingOptions, OrderingSpec, Setting
from megadocs.kinds.orders import num_generations, real_position, simple
from megadocs.kinds.registry import Kind
from megadocs.kinds.row import REAL_CODE, RowKind, Tags, Written
from megadocs.kinds.sorting import sort_grouped
from megadocs.kinds.task import TaskKind, equal_cuts
from megadocs.row_table import RowTable
from megadocs.seeding import derive_seed


def show(text: str, cut: int | None) -> Mapping[str, str]:
    """The prompt shows what stands before the split point and what stands behind it."""
    assert cut is not None
    return {"prefix": text[:cut], "suffix": text[cut:]}


def stretch(document: str, thoughts: Sequence[Written], tags: Tags) -> str:
    """The document with each thought, in its tags, at its split point; nothing else is added or changed.

    Raises:
        InputError: a split point lies outside the text.
    """
    pieces, done = [], 0
    for offset, thought in _in_order(thoughts):
        if not 0 <= offset <= len(document):
            raise InputError(
                f"a split point at character {offset} lies outside a text of {len(document)}",
                remedy="the thoughts belong to another version of the document: generate them again",
            )
        pieces += [document[done:offset], tags.open, thought, tags.close]
        done = offset
    return "".join([*pieces, document[done:]])


def append(document: str, thoughts: Sequence[Written], tags: Tags) -> str:
    """Control: the same thoughts in the same tags, all behind the text instead of inside it."""
    return document + "".join(f"{tags.open}{thought}{tags.close}" for _, thought in _in_order(thoughts))


def _in_order(thoughts: Sequence[Written]) -> list[tuple[int, str]]:
    """(offset, text) by offset; of equal offsets the order given."""
    return sorted(((thought.cut or 0, thought.text) for thought in thoughts), key=lambda pair: pair[0])


_THOUGHT = TaskKind(
    "thought",
    frozenset({"prefix", "suffix"}),
    show,
    style="latent_thought",
    max_new_tokens=512,
    cut=equal_cuts,
    nests=False,
)
_LATENT = RowKind(
    "latent_thoughts", 2, stretch, task="thought", is_stretched=True, holds_document=True, forms=("latent_thoughts",)
)
_APPENDED = RowKind(
    "thoughts_appended", 4, append, task="thought", is_stretched=True, holds_document=True, forms=("latent_thoughts",)
)
_REPHRASE = REPHRASE.rows[0]


def merged(table: RowTable, rows: Int64Array, *, seed: int, epoch: int, options: OrderingOptions) -> Int64Array:
    """Megadocs that end in the stretched document: rephrases, latent thoughts, then the real document if it is in.

    With `real_document: first` the real document leads; `random` puts it among the rephrases.
    """
    kind = table.kind[rows]
    count = num_generations(table, rows[kind == _REPHRASE.code], options)
    options = replace(options, num_generations=count)
    position = real_position(table, rows, seed, epoch, options)
    after_rephrases = 2 * count + 1
    position[kind == _LATENT.code] = after_rephrases
    if options.real_document == "last":
        position[kind == REAL_CODE] = after_rephrases + 1
    return sort_grouped(table, rows, derive_seed(seed, "document_order", epoch), position)


KIND = Kind(
    task=_THOUGHT,
    rows=(_LATENT, _APPENDED),
    orderings=(
        OrderingSpec(
            "latent_thoughts",
            simple,
            (_LATENT.name,),
            colour=3,
            start={
                2: Setting(4, 0.75, 3e-3, 0.8),
                4: Setting(8, 0.75, 3e-3, 0.8),
                8: Setting(8, 0.75, 3e-3, 0.4),
                16: Setting(16, 0.75, 3e-3, 0.4),
                32: Setting(32, 0.9, 1e-3, 0.4),
            },
        ),
        OrderingSpec("merged", merged, (_REPHRASE.name, _LATENT.name), adds_real=True, colour=6),
        OrderingSpec(
            "thoughts_appended",
            simple,
            (_APPENDED.name,),
            role="control",
            contrast=Contrast("latent_thoughts", "thoughts after the document", "where the thoughts stand"),
        ),
    ),
)
