"""The row table: numpy columns that describe rows, the one thing that row stores and stream orderings share.

Rows live in *segments* (one token array each); the table says which rows exist, what they are and where their tokens
lie. Orderings see these columns and nothing else; they open no file. Shapes: N rows, D distinct documents.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, slots=True)
class RowTable:
    """Columns of N rows over D documents."""

    #: the D distinct ids (strings), in any order; ties of hashes are broken by comparing them.
    document_ids: Sequence[str]
    document_index: npt.NDArray[np.int32]  # int32 (N,), index into `document_ids`
    document_key: npt.NDArray[np.uint64]  # uint64 (N,), `seeding.document_key` of each row's document
    row_key: npt.NDArray[np.uint64]  # uint64 (N,), `seeding.row_key` of each row
    kind: npt.NDArray[np.uint8]  # uint8 (N,), code of a row kind
    generation: npt.NDArray[np.int32]  # int32 (N,)
    num_tokens: npt.NDArray[np.int32]  # int32 (N,), separators included
    segment: npt.NDArray[np.int32]  # int32 (N,), index into the store's token arrays
    start: npt.NDArray[np.int64]  # int64 (N,), first token within its segment
    #: more named columns that a step made for an ordering (similarity ranks, say), each of length N.
    extra: dict[str, npt.NDArray[np.generic]]

    def __len__(self) -> int:
        return len(self.row_key)

    @property
    def total_tokens(self) -> int:
        """Tokens of all rows, separators included."""
        return int(self.num_tokens.sum(dtype=np.int64))

    def with_document_column(self, name: str, document_ids: Sequence[str], values: npt.NDArray[np.int64]) -> RowTable:
        """The same table with one more column that is a property of documents (a similarity rank, say).

        Args:
            name: of the column in `extra`.
            document_ids: documents that have a value, in any order.
            values: int64, one per document; documents without one get one more than the largest.
        """
        value_of = dict(zip(document_ids, values.tolist(), strict=True))
        absent = max(value_of.values(), default=0) + 1
        by_document = np.array([value_of.get(document, absent) for document in self.document_ids], dtype=np.int64)
        return replace(self, extra={**self.extra, name: by_document[self.document_index]})
