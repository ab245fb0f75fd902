"""An evaluation set: named documents as token rows, in an order that does not depend on how they were listed.

Where windows are cut depends on the order of the documents, so the order is fixed by hashes of their ids: a shuffled
list of the same documents gives the same windows and the same headline to the last bit. `order="given"` keeps the
list's order, for comparisons with a number that was computed that way.

    validation = build_evaluation_set("validation", documents, tokenizer)
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from megadocs.documents import Document
from megadocs.errors import InputError
from megadocs.seeding import derive_seed, document_key, mix
from megadocs.text.tokenizer import Tokenizer

#: Root of the order's seed; fixed for ever, so that two models are always scored on the same windows.
_ORDER_SEED = derive_seed(0, "evaluation_order")


@dataclass(frozen=True, slots=True)
class EvaluationSet:
    """D documents to be scored, one row each."""

    name: str  # what the scores table calls it ("validation", "test", "arxiv")
    document_ids: Sequence[str]  # D distinct ids
    rows: Sequence[npt.NDArray[np.integer]]  # D integer arrays, separators included
    num_bytes: Sequence[int]  # D lengths of the texts in UTF-8 (without separators)

    def __post_init__(self) -> None:
        if not len(self.document_ids) == len(self.rows) == len(self.num_bytes):
            raise ValueError("document_ids, rows and num_bytes differ in length")
        if not self.rows:
            raise InputError("the evaluation set is empty", where=self.name, remedy="give it at least one document")
        if len(set(self.document_ids)) != len(self.document_ids):
            raise InputError("document ids repeat", where=self.name, remedy="give every document an id of its own")

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def num_tokens(self) -> int:
        """Tokens of all rows, separators included."""
        return sum(len(row) for row in self.rows)

    @property
    def digest(self) -> str:
        """Hex SHA-256 over the ids, bytes and tokens of the documents in their hash order."""
        data = self.ordered()
        state = hashlib.sha256()
        for document_id, row, num_bytes in zip(data.document_ids, data.rows, data.num_bytes, strict=True):
            state.update(json.dumps([document_id, int(num_bytes), len(row)]).encode("utf-8"))
            state.update(np.ascontiguousarray(row, dtype="<u4").tobytes())
        return state.hexdigest()

    def ordered(self, order: Literal["hash", "given"] = "hash") -> EvaluationSet:
        """The same documents by the hash of their ids (ties by id), or as they stand."""
        if order == "given":
            return self
        ids = self.document_ids
        indices = sorted(range(len(ids)), key=lambda i: (mix(_ORDER_SEED ^ document_key(ids[i])), ids[i]))
        return self.subset(indices)

    def subset(self, indices: Sequence[int], name: str | None = None) -> EvaluationSet:
        """The documents at `indices`, in that order."""
        return EvaluationSet(
            name=name or self.name,
            document_ids=[self.document_ids[i] for i in indices],
            rows=[self.rows[i] for i in indices],
            num_bytes=[self.num_bytes[i] for i in indices],
        )

    def short_and_long(self, boundary_tokens: int) -> tuple[EvaluationSet | None, EvaluationSet | None]:
        """Documents of fewer than `boundary_tokens` tokens, and the others, as `<name>_short` and `<name>_long`.

        None stands for a side without documents.
        """
        short = [i for i, row in enumerate(self.rows) if len(row) < boundary_tokens]
        long = [i for i, row in enumerate(self.rows) if len(row) >= boundary_tokens]
        return (
            self.subset(short, f"{self.name}_short") if short else None,
            self.subset(long, f"{self.name}_long") if long else None,
        )

    def check(self, vocab_size: int) -> None:
        """Refuse documents of fewer than two tokens, and tokens that a model of this vocabulary does not have.

        Raises:
            InputError: names the first such document.
        """
        for document_id, row in zip(self.document_ids, self.rows, strict=True):
            if len(row) < 2:
                raise InputError(
                    f"document {document_id!r} has {len(row)} tokens: nothing to predict",
                    where=self.name,
                    remedy="a row has two tokens at least, separators included: leave empty documents out",
                )
            lowest, highest = int(row.min()), int(row.max())
            if lowest < 0 or highest >= vocab_size:
                wrong = lowest if lowest < 0 else highest
                raise InputError(
                    f"document {document_id!r} holds token {wrong}, but the model has {vocab_size}",
                    where=self.name,
                    remedy="encode the set with the tokenizer the model was trained with",
                )


def build_evaluation_set(name: str, documents: Sequence[Document], tokenizer: Tokenizer) -> EvaluationSet:
    """Encode documents, one row each, and measure their texts in bytes."""
    return EvaluationSet(
        name=name,
        document_ids=[document.id for document in documents],
        rows=tokenizer.encode_rows([document.text for document in documents]),
        num_bytes=[len(document.text.encode("utf-8")) for document in documents],
    )
