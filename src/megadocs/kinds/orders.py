"""Orders that several kinds share. Each is a short pure function of identities, a seed and an epoch.

    rows = stitched(table, selected, seed=42, epoch=0, options=OrderingOptions(real_document="last"))

docs/ordering.md specifies each of them to the bit.
"""

from __future__ import annotations

import numpy as np

from megadocs.errors import RecipeError
from megadocs.kinds.ordering import Int64Array, OrderingOptions
from megadocs.kinds.row import REAL_CODE
from megadocs.kinds.sorting import sort_grouped, sort_rows
from megadocs.row_table import RowTable
from megadocs.seeding import derive_seed, mix_array


def simple(table: RowTable, rows: Int64Array, *, seed: int, epoch: int, options: OrderingOptions) -> Int64Array:
    """All rows shuffled: simple rephrasing, latent thoughts, self-distilled samples, the real stream."""
    del options
    return sort_rows(table, rows, derive_seed(seed, "row_order", epoch))


def stitched(table: RowTable, rows: Int64Array, *, seed: int, epoch: int, options: OrderingOptions) -> Int64Array:
    """Megadocs: the rows of a document side by side; rephrases by generation, the real document as the options say."""
    position = real_position(table, rows, seed, epoch, options)
    return sort_grouped(table, rows, derive_seed(seed, "document_order", epoch), position)


def mis_stitched(table: RowTable, rows: Int64Array, *, seed: int, epoch: int, options: OrderingOptions) -> Int64Array:
    """Control: bundles shaped like megadocs (same generations, same places) whose rows come from unrelated documents.

    The rows of each slot (kind and generation) are dealt anew over the bundles by hash. Two rows of one document
    meet in a bundle only by chance, about once in D bundles per pair.
    """
    ordered = stitched(table, rows, seed=seed, epoch=epoch, options=options)
    slot = (table.kind[ordered].astype(np.int64) << 32) + table.generation[ordered]
    deal_seed = derive_seed(seed, "mis_stitched_order", epoch)
    by_slot = np.argsort(slot, kind="stable")
    dealt = ordered.copy()
    for places in np.split(by_slot, np.flatnonzero(np.diff(slot[by_slot])) + 1):
        dealt[places] = sort_rows(table, ordered[places], deal_seed)
    return dealt


def similarity(table: RowTable, rows: Int64Array, *, seed: int, epoch: int, options: OrderingOptions) -> Int64Array:
    """In-context pretraining: real documents along a path of neighbours, each used once.

    The path is the column `similarity_rank` of the table (a step made it); ties go by hash.
    """
    if "similarity_rank" not in table.extra:
        raise RecipeError(
            "the row table has no column `similarity_rank`",
            where="stream.real_order",
            remedy="build the similarity ranks first, or use real_order: shuffled",
        )
    shuffled = simple(table, rows, seed=seed, epoch=epoch, options=options)
    return shuffled[np.argsort(table.extra["similarity_rank"][shuffled], kind="stable")]


def num_generations(table: RowTable, rows: Int64Array, options: OrderingOptions) -> int:
    """The stream's G: as asked for, else one more than the largest generation among the rows that are not real."""
    if options.num_generations:
        return options.num_generations
    generations = table.generation[rows][table.kind[rows] != REAL_CODE]
    return int(generations.max(initial=-1)) + 1


def real_position(table: RowTable, rows: Int64Array, seed: int, epoch: int, options: OrderingOptions) -> Int64Array:
    """Places in a group: generation g stands at 2g + 1, the real document at 0 (first), 2G (last) or 2p (random).

    `random` draws p in 0..G as `mix(derive_seed(seed, "real_position", epoch) ^ document_key) mod (G + 1)`.
    """
    count = num_generations(table, rows, options)
    is_real = table.kind[rows] == REAL_CODE
    position = 2 * table.generation[rows].astype(np.int64) + 1
    position[is_real] = 0 if options.real_document == "first" else 2 * count
    if options.real_document == "random":
        place_seed = np.uint64(derive_seed(seed, "real_position", epoch))
        drawn = mix_array(table.document_key[rows][is_real] ^ place_seed) % np.uint64(count + 1)
        position[is_real] = 2 * drawn.astype(np.int64)
    return position
