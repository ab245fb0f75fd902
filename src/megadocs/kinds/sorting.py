"""Sorting by hash: the primitives under every order, with ties broken by identity, never by position.

An order is an ascending sort by `mix(seed ^ key)`. `mix` is a bijection, so two entries tie only when their keys are
equal; then the document id decides, then kind and generation (docs/ordering.md). Table order never matters.
Shapes: N rows of the table, R selected rows, D documents.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from megadocs.kinds.ordering import Int64Array
from megadocs.row_table import RowTable
from megadocs.seeding import Uint64Array, mix_array


def hash_order(seed: int, count: int) -> Int64Array:
    """The permutation of `range(count)` sorted by `mix(seed ^ entry)`: window orders and block orders."""
    return np.argsort(mix_array(np.arange(count, dtype=np.uint64) ^ np.uint64(seed)), kind="stable")


def sort_rows(table: RowTable, rows: Int64Array, seed: int) -> Int64Array:
    """Rows sorted by `(mix(seed ^ row_key), document_id, kind code, generation)`, shape (R,)."""
    keys = mix_array(table.row_key[rows] ^ np.uint64(seed))
    order = np.argsort(keys)

    def identity(entry: int) -> tuple[str, int, int]:
        row = int(rows[entry])
        return table.document_ids[table.document_index[row]], int(table.kind[row]), int(table.generation[row])

    _settle_ties(keys, order, identity)
    return rows[order]


def document_ranks(table: RowTable, rows: Int64Array, seed: int) -> Int64Array:
    """Rank of each row's document, shape (R,): documents sorted by `(mix(seed ^ document_key), document_id)`."""
    present, entry_of_row = np.unique(table.document_index[rows], return_inverse=True)
    keys_of_table = np.zeros(len(table.document_ids), dtype=np.uint64)
    keys_of_table[table.document_index[rows]] = table.document_key[rows]
    keys = mix_array(keys_of_table[present] ^ np.uint64(seed))
    order = np.argsort(keys)
    _settle_ties(keys, order, lambda entry: table.document_ids[present[entry]])
    ranks = np.empty(len(present), dtype=np.int64)
    ranks[order] = np.arange(len(present))
    return ranks[entry_of_row]


def sort_grouped(table: RowTable, rows: Int64Array, seed: int, position: Int64Array) -> Int64Array:
    """Rows sorted by `(mix(seed ^ document_key), document_id, position, generation)`, shape (R,).

    Args:
        position: place of each row within its document's group, shape (R,), small whole numbers of at least 0.
    """
    if not len(rows):
        return rows
    generation = table.generation[rows].astype(np.int64)
    num_generations = int(generation.max()) + 1
    num_positions = int(position.max()) + 1
    key = (document_ranks(table, rows, seed) * num_positions + position) * num_generations + generation
    return rows[np.argsort(key, kind="stable")]


def _settle_ties(keys: Uint64Array, order: Int64Array, identity: Callable[[int], Any]) -> None:
    """Reorder, in place, each run of equal keys in `order` by `identity(entry)`."""
    sorted_keys = keys[order]
    tied = np.flatnonzero(sorted_keys[1:] == sorted_keys[:-1])
    done = -1
    for first in tied.tolist():
        if first <= done:
            continue
        end = int(np.searchsorted(sorted_keys, sorted_keys[first], side="right"))
        order[first:end] = sorted(order[first:end].tolist(), key=identity)
        done = end - 1
