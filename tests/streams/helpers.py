"""Row tables from tiny integers: token value = 100 * document + row's place, so that every token names its row."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from megadocs.kinds import row_kind
from megadocs.row_table import RowTable
from megadocs.seeding import document_key, row_key

RowSpec = tuple[str, str, int, int]  # document id, kind, generation, number of tokens


def make_table(specs: Sequence[RowSpec], *, num_segments: int = 1) -> tuple[RowTable, list[np.ndarray]]:
    """A table and its token arrays; row r's tokens are all r. Row r lies in segment r % num_segments."""
    ids = sorted({spec[0] for spec in specs})
    segments: list[list[int]] = [[] for _ in range(num_segments)]
    segment, start = [], []
    for row, (_, _, _, length) in enumerate(specs):
        target = segments[row % num_segments]
        segment.append(row % num_segments)
        start.append(len(target))
        target.extend([row] * length)
    keys = [document_key(spec[0]) for spec in specs]
    table = RowTable(
        document_ids=ids,
        document_index=np.array([ids.index(spec[0]) for spec in specs], dtype=np.int32),
        document_key=np.array(keys, dtype=np.uint64),
        row_key=np.array(
            [row_key(key, row_kind(kind).code, gen) for key, (_, kind, gen, _) in zip(keys, specs, strict=True)],
            dtype=np.uint64,
        ),
        kind=np.array([row_kind(spec[1]).code for spec in specs], dtype=np.uint8),
        generation=np.array([spec[2] for spec in specs], dtype=np.int32),
        num_tokens=np.array([spec[3] for spec in specs], dtype=np.int32),
        segment=np.array(segment, dtype=np.int32),
        start=np.array(start, dtype=np.int64),
        extra={},
    )
    return table, [np.array(part, dtype=np.uint16) for part in segments]


def names(table: RowTable, rows: Sequence[int]) -> str:
    """Rows as in docs/ordering.md: `a0` is rephrase 0 of a, `A` the real document, `a*` stretched."""
    words = []
    for row in rows:
        name = table.document_ids[table.document_index[row]]
        kind = int(table.kind[row])
        if kind == row_kind("real").code:
            words.append(name.upper())
        elif kind == row_kind("rephrase").code:
            words.append(f"{name}{table.generation[row]}")
        else:
            words.append(f"{name}*")
    return " ".join(words)


def rephrased(documents: str, num_generations: int, length: int = 4) -> list[RowSpec]:
    """Each document with its real row and its rephrases, all of one length."""
    specs: list[RowSpec] = []
    for name in documents:
        specs.append((name, "real", 0, length))
        specs.extend((name, "rephrase", generation, length) for generation in range(num_generations))
    return specs
