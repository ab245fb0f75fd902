"""Real documents as rows, and the control that repeats them."""

from __future__ import annotations

import numpy as np

from megadocs.errors import RecipeError
from megadocs.kinds.ordering import Int64Array, OrderingOptions, OrderingSpec
from megadocs.kinds.registry import Kind
from megadocs.kinds.row import REAL, REAL_CODE, RowKind
from megadocs.kinds.sorting import sort_grouped
from megadocs.row_table import RowTable
from megadocs.seeding import derive_seed


def repeat(table: RowTable, rows: Int64Array, *, seed: int, epoch: int, options: OrderingOptions) -> Int64Array:
    """Control: G copies of the real document in place of its G rephrases, then the document itself (G + 1 in all).

    What stitching gains by length or repetition alone, this gains too. `real_document: none` leaves G copies.
    """
    if not options.num_generations:
        raise RecipeError(
            "the ordering `repeat` needs a number of copies", where="stream.num_generations", remedy="set it"
        )
    copies = options.num_generations + (options.real_document != "none")
    ordered = sort_grouped(table, rows, derive_seed(seed, "document_order", epoch), np.zeros(len(rows), dtype=np.int64))
    return np.repeat(ordered, copies)


KIND = Kind(
    rows=(RowKind(REAL, REAL_CODE, holds_document=True),),
    orderings=(
        OrderingSpec(
            "repeat",
            repeat,
            (REAL,),
            role="control",
            null_text="copies of the documents",
            repeats=True,
            counts_copies=True,
        ),
    ),
)
