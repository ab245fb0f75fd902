"""Reading the Parquet file of generations that the generate stage exports, batch by batch.

Columns used: identity, document_id (null: unconditional sample), kind (name of the task), generation,
num_generations, split_character, text, status. Every generation asked for has a record, whatever became of it; only
those with status "ok" and a text that is not white space become part of a row.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from megadocs.errors import InputError
from megadocs.kinds import Written

_COLUMNS = (
    "identity", "document_id", "kind", "generation", "num_generations", "split_character", "text", "status",
)  # fmt: skip
_BATCH_ROWS = 1024


@dataclass(frozen=True, slots=True)
class Generation:
    """One record of the export."""

    identity: str  # hash that names the generation
    document_id: str | None  # source document; None for an unconditional sample
    kind: str  # name of its task
    generation: int  # index of the sample or of the split point
    num_generations: int  # the G it was asked for with
    split_character: int | None  # where a thought belongs in its document
    text: str  # the reply; empty when there is none
    status: str  # "ok" or what became of it

    @property
    def is_usable(self) -> bool:
        """Whether it becomes part of a row."""
        return self.status == "ok" and bool(self.text.strip())

    @property
    def written(self) -> Written:
        """What a row is made of."""
        return Written(self.split_character, self.text)


def iter_generations(path: str | Path, kind: str | None = None) -> Iterator[Generation]:
    """The records of an export in its order, all statuses.

    Raises:
        InputError: no such file, not Parquet, or a column is missing.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            missing = [name for name in _COLUMNS if name not in file.schema_arrow.names]
            if missing:
                raise InputError(f"columns are missing: {', '.join(missing)}", where=str(path), remedy="export again")
            for batch in file.iter_batches(batch_size=_BATCH_ROWS, columns=list(_COLUMNS)):
                for record in batch.to_pylist():
                    if kind is None or record["kind"] == kind:
                        yield _generation(record)
    except (pa.ArrowException, OSError) as error:
        raise InputError(
            f"cannot read the generations: {error}", where=str(path), remedy="run `megadocs generate run` again"
        ) from error


def _generation(record: dict[str, Any]) -> Generation:
    return Generation(
        record["identity"],
        record["document_id"],
        record["kind"],
        int(record["generation"]),
        int(record["num_generations"] or 0),
        record["split_character"],
        record["text"] or "",
        record["status"],
    )
