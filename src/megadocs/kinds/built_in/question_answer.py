"""Questions about a document with their answers, stitched behind it as rows of their own.

Each generation is one set of pairs and one row, as in Nemotron-CC's diverse question answering (arXiv:2412.02595),
whose pairs follow the text that they are about.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from megadocs.kinds.ordering import Int64Array, OrderingOptions, OrderingSpec
from megadocs.kinds.orders import stitched
from megadocs.kinds.registry import Kind
from megadocs.kinds.row import RowKind, Tags, Written
from megadocs.kinds.task import TaskKind
from megadocs.row_table import RowTable


def show(text: str, cut: int | None) -> Mapping[str, str]:
    """The prompt shows the document."""
    return {"document": text}


def text_of(document: str, written: Sequence[Written], tags: Tags) -> str:
    """The pairs as they were written."""
    return written[0].text


def behind_document(
    table: RowTable, rows: Int64Array, *, seed: int, epoch: int, options: OrderingOptions
) -> Int64Array:
    """Megadocs that begin with the document, wherever `real_document` would put it; its pairs follow by generation."""
    return stitched(table, rows, seed=seed, epoch=epoch, options=replace(options, real_document="first"))


KIND = Kind(
    task=TaskKind("question_answer", frozenset({"document"}), show, style="question_pairs", max_new_tokens=512),
    rows=(RowKind("question_answer", 5, text_of, task="question_answer"),),
    orderings=(OrderingSpec("question_answer", behind_document, ("question_answer",), adds_real=True),),
)
