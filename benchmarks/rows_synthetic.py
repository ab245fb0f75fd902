"""Random rows of 300-900 tokens: stores for the order, gather and scale benchmarks."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from megadocs.kinds import row_kind
from megadocs.row_table import RowTable
from megadocs.rows import RowsManifest, SourceRow
from megadocs.rows.segment import SegmentWriter
from megadocs.seeding import document_key, row_key_array

VOCAB_SIZE = 128_256
_BLOCK_ROWS = 4096


def build_store(segments_dir: Path, num_tokens: int, *, num_generations: int = 32) -> RowsManifest:
    """A store of about `num_tokens` uint32 tokens: as many documents as it takes, each real and G rephrases."""
    num_documents = max(num_tokens // (600 * (num_generations + 1)), 1)
    rng = np.random.default_rng(0)
    entries = []
    for number in range(num_generations + 1):
        kind, generation = ("real", 0) if number == 0 else ("rephrase", number - 1)
        writer = SegmentWriter(segments_dir, VOCAB_SIZE)
        for first in range(0, num_documents, _BLOCK_ROWS):
            lengths = rng.integers(300, 901, min(_BLOCK_ROWS, num_documents - first))
            tokens = rng.integers(3, VOCAB_SIZE, int(lengths.sum()), dtype=np.uint32)
            ends = np.cumsum(lengths)
            for place, (begin, end) in enumerate(zip((ends - lengths).tolist(), ends.tolist(), strict=True)):
                row = SourceRow(f"document-{first + place:08d}", kind, generation, "")
                writer.append(row, tokens[begin:end])
        entries.append(writer.close())
    return RowsManifest(tuple(entries), "random", VOCAB_SIZE, 2)


def make_table(num_documents: int, num_generations: int) -> RowTable:
    """A row table alone, of `num_documents * (num_generations + 1)` rows, without tokens."""
    rows_per_document = num_generations + 1
    ids = [f"document-{number:08d}" for number in range(num_documents)]
    keys = np.array([document_key(name) for name in ids], dtype=np.uint64)
    index = np.tile(np.arange(num_documents, dtype=np.int32), rows_per_document)
    generation = np.repeat(np.array([0, *range(num_generations)], dtype=np.int32), num_documents)
    kind = np.repeat(
        np.array([row_kind("real").code] + [row_kind("rephrase").code] * num_generations, dtype=np.uint8), num_documents
    )
    lengths = np.random.default_rng(0).integers(300, 901, len(index)).astype(np.int32)
    return RowTable(
        document_ids=ids,
        document_index=index,
        document_key=keys[index],
        row_key=row_key_array(keys[index], kind.astype(np.uint64), generation.astype(np.uint64)),
        kind=kind,
        generation=generation,
        num_tokens=lengths,
        segment=np.zeros(len(index), dtype=np.int32),
        start=np.cumsum(lengths, dtype=np.int64) - lengths,
        extra={},
    )
