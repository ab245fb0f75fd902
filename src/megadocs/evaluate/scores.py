"""Scores: one line per document, and what follows from them. A number keeps its evidence.

The table has the columns `set, mode, document_id, num_tokens, num_bytes, sum_nll`. `num_tokens` counts the targets that
were scored and `num_bytes` the bytes those targets stand for, so both ratios are right whatever was scored:

    nats per token = sum(sum_nll) / sum(num_tokens)
    bits per byte  = sum(sum_nll) / sum(num_bytes) / ln 2

In `alone` mode that is every byte of the document. In `windowed` mode a document loses the target at each window's
start, and perhaps the dropped tail: then it counts that share of its bytes, targets / row tokens, rounded to a byte.
"""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from megadocs.errors import InputError
from megadocs.store.files import write_bytes_atomic

Mode = Literal["windowed", "windowed_across", "alone"]


@dataclass(frozen=True, slots=True)
class DocumentScores:
    """What a model lost on each of D documents of one set; a document without a scored target has zeros."""

    set: str  # the evaluation set's name
    mode: Mode  # `windowed` as in training, or `alone`: every document from its own start
    document_ids: Sequence[str]  # D ids, in the order they were scored
    num_tokens: npt.NDArray[np.int64]  # int64 (D,), targets scored
    num_bytes: npt.NDArray[np.int64]  # int64 (D,), bytes of UTF-8 that those targets stand for
    sum_nll: npt.NDArray[np.float64]  # float64 (D,), nats; NaN stays NaN
    num_dropped_tokens: int = 0  # tokens of the set beyond the last full window (0 in `alone` mode); not in the table

    def __len__(self) -> int:
        return len(self.document_ids)

    @property
    def nats_per_token(self) -> float:
        """The headline: mean over all scored targets. Summed exactly, so it does not depend on the documents' order."""
        return math.fsum(self.sum_nll) / int(self.num_tokens.sum())

    @property
    def bits_per_byte(self) -> float:
        """Comparable across tokenizers."""
        return math.fsum(self.sum_nll) / int(self.num_bytes.sum()) / math.log(2)


_COLUMNS = ("set", "mode", "document_id", "num_tokens", "num_bytes", "sum_nll")


def write_scores(path: str | Path, scores: Sequence[DocumentScores]) -> None:
    """Write the tables of several sets and modes into one Parquet file, sorted by (set, mode, document_id).

    The bytes depend on the content only. Raises `InputError` when a (set, mode) comes twice.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    keys = [(part.set, part.mode) for part in scores]
    if len(set(keys)) != len(keys):
        raise InputError("a set and mode comes twice in the scores", where=str(path), remedy="write each once")
    lines = sorted(
        (part.set, part.mode, document_id, tokens, num_bytes, nll)
        for part in scores
        for document_id, tokens, num_bytes, nll in zip(
            part.document_ids, part.num_tokens.tolist(), part.num_bytes.tolist(), part.sum_nll.tolist(), strict=True
        )
    )
    types = (pa.string(), pa.string(), pa.string(), pa.int64(), pa.int64(), pa.float64())
    columns = [pa.array([line[i] for line in lines], type=kind) for i, kind in enumerate(types)]
    buffer = io.BytesIO()
    pq.write_table(pa.table(columns, names=list(_COLUMNS)), buffer, compression="zstd")
    write_bytes_atomic(path, buffer.getvalue())
