"""Orderings: which row follows which. Each is a short pure function of identities, a seed and an epoch.

    rows = stitched(table, selected, seed=42, epoch=0, options=OrderingOptions(real_document="last"))

An ordering takes the rows that its stream selected (indices into the table, any order) and returns them as the
stream's sequence. It sees no tokens and opens no file. A stream that repeats rows returns them more than once. The
result must hold the same rows in every epoch; only their sequence may change. docs/ordering.md specifies each order.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np

from megadocs.documents import KIND_CODES
from megadocs.errors import RecipeError
from megadocs.row_table import RowTable
from megadocs.seeding import derive_seed, mix_array
from megadocs.streams.sorting import Int64Array, sort_grouped, sort_rows

_REAL = KIND_CODES["real"]
_REPHRASE = KIND_CODES["rephrase"]
_LATENT = KIND_CODES["latent_thoughts"]

RealPlace = Literal["last", "first", "none", "random"]


@dataclass(frozen=True, slots=True)
class OrderingOptions:
    """What an ordering may depend on besides the rows.

    Attributes:
        num_generations: the G of the stream (rephrases with generation < G were selected).
        real_document: where a megadoc's real document stands; with "none" no real rows were selected.
    """

    num_generations: int = 0
    real_document: RealPlace = "last"


class Ordering(Protocol):
    """The protocol: `(table, rows, seed, epoch, options) -> rows in stream order`, all int64 indices into the table."""

    def __call__(
        self, table: RowTable, rows: Int64Array, *, seed: int, epoch: int, options: OrderingOptions
    ) -> Int64Array:
        """Rows in stream order."""


def simple(table: RowTable, rows: Int64Array, *, seed: int, epoch: int, options: OrderingOptions) -> Int64Array:
    """All rows shuffled: simple rephrasing, latent thoughts, self-distilled samples, the real stream."""
    del options
    return sort_rows(table, rows, derive_seed(seed, "row_order", epoch))


def stitched(table: RowTable, rows: Int64Array, *, seed: int, epoch: int, options: OrderingOptions) -> Int64Array:
    """Megadocs: the rows of a document side by side; rephrases by generation, the real document as the options say."""
    position = _real_position(table, rows, seed, epoch, options)
    return sort_grouped(table, rows, derive_seed(seed, "document_order", epoch), position)


def merged(table: RowTable, rows: Int64Array, *, seed: int, epoch: int, options: OrderingOptions) -> Int64Array:
    """Megadocs that end in the stretched document: rephrases, latent thoughts, then the real document if it is in.

    With `real_document: first` the real document leads; `random` puts it among the rephrases.
    """
    kind = table.kind[rows]
    position = _real_position(table, rows, seed, epoch, options)
    after_rephrases = 2 * _num_generations(table, rows, options) + 1
    position[kind == _LATENT] = after_rephrases
    if options.real_document == "last":
        position[kind == _REAL] = after_rephrases + 1
    return sort_grouped(table, rows, derive_seed(seed, "document_order", epoch), position)


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


def _num_generations(table: RowTable, rows: Int64Array, options: OrderingOptions) -> int:
    """The stream's G: as asked for, else one more than the largest rephrase generation among the rows."""
    if options.num_generations:
        return options.num_generations
    generations = table.generation[rows][table.kind[rows] == _REPHRASE]
    return int(generations.max(initial=-1)) + 1


def _real_position(table: RowTable, rows: Int64Array, seed: int, epoch: int, options: OrderingOptions) -> Int64Array:
    """Places in a group: rephrase g stands at 2g + 1, the real document at 0 (first), 2G (last) or 2p (random).

    `random` draws p in 0..G as `mix(derive_seed(seed, "real_position", epoch) ^ document_key) mod (G + 1)`.
    """
    num_generations = _num_generations(table, rows, options)
    is_real = table.kind[rows] == _REAL
    position = 2 * table.generation[rows].astype(np.int64) + 1
    position[is_real] = 0 if options.real_document == "first" else 2 * num_generations
    if options.real_document == "random":
        place_seed = np.uint64(derive_seed(seed, "real_position", epoch))
        drawn = mix_array(table.document_key[rows][is_real] ^ place_seed) % np.uint64(num_generations + 1)
        position[is_real] = 2 * drawn.astype(np.int64)
    return position
