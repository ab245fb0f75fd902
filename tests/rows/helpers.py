"""A tokenizer of characters and an export of generations, small enough to check by hand."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from megadocs.documents import Document

BOS, EOS = 1, 2


class CharacterTokenizer:
    """One token per character (its code point), BOS 1, EOS 2."""

    bos_id: int | None = BOS
    eos_id = EOS

    def __init__(self, vocab_size: int = 300, *, has_bos: bool = True) -> None:
        self.vocab_size = vocab_size
        self.bos_id = BOS if has_bos else None

    @property
    def separators_per_row(self) -> int:
        return 1 if self.bos_id is None else 2

    @property
    def fingerprint(self) -> str:
        return f"characters-{self.vocab_size}-{self.bos_id}"

    def encode_rows(self, texts: Sequence[str]) -> list[np.ndarray]:
        before = [] if self.bos_id is None else [self.bos_id]
        return [np.array([*before, *map(ord, text), EOS], dtype=np.uint32) for text in texts]


def decode(tokens: Sequence[int]) -> str:
    """BOS as `[`, EOS as `]`."""
    return "".join({BOS: "[", EOS: "]"}.get(int(token), chr(int(token))) for token in tokens)


def documents(count: int = 3) -> list[Document]:
    return [Document(f"d{number}", f"text of document {number}") for number in range(count)]


def rephrase(document_id: str, generation: int, text: str | None = None, status: str = "ok") -> dict[str, Any]:
    text = f"rephrase {generation} of {document_id}" if text is None else text
    return {
        "identity": f"r-{document_id}-{generation}", "document_id": document_id, "kind": "rephrase",
        "generation": generation, "num_generations": 0, "split_character": None, "text": text, "status": status,
    }  # fmt: skip


def thought(
    document_id: str, generation: int, offset: int, text: str, *, num_generations: int, status: str = "ok"
) -> dict[str, Any]:
    return {
        "identity": f"t-{document_id}-{num_generations}-{generation}", "document_id": document_id, "kind": "thought",
        "generation": generation, "num_generations": num_generations, "split_character": offset, "text": text,
        "status": status,
    }  # fmt: skip


def write_export(path: Path, records: Sequence[dict[str, Any]]) -> Path:
    """A generations file as `megadocs generate` exports it: sorted by document id and generation."""
    schema = pa.schema(
        [
            ("identity", pa.string()),
            ("document_id", pa.string()),
            ("kind", pa.string()),
            ("generation", pa.int32()),
            ("num_generations", pa.int32()),
            ("split_character", pa.int64()),
            ("text", pa.string()),
            ("status", pa.string()),
        ]
    )
    ordered = sorted(records, key=lambda record: (record["document_id"] or "", record["generation"]))
    pq.write_table(pa.Table.from_pylist(ordered, schema=schema), path)
    return path
