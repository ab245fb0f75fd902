"""Rows straight from Parquet or JSON lines, one at a time: text that is already split and needs no corpus stage.

build_rows(iter_text_rows("rephrases.jsonl", kind="rephrase", generation_field="generation"), tokenizer, segments)
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from megadocs.errors import InputError
from megadocs.rows.source import SourceRow

_BATCH_ROWS = 512


def iter_text_rows(
    path: str | Path,
    *,
    kind: str = "real",
    text_field: str = "text",
    id_field: str = "id",
    generation_field: str | None = None,
) -> Iterator[SourceRow]:
    """The records of a file as rows, in their order; memory does not grow with the file.

    Args:
        path: `.parquet` or `.jsonl`.
        kind: kind of all rows.
        text_field: field or column of the text.
        id_field: field or column of the document id.
        generation_field: field or column of the generation; None: 0.

    Raises:
        InputError: the file is missing, torn, of another type, or a record lacks a field.
    """
    path = Path(path)
    fields = [id_field, text_field, *([generation_field] if generation_field else [])]
    if path.suffix == ".parquet":
        records = _parquet_records(path, fields)
    elif path.suffix == ".jsonl":
        records = _json_records(path)
    else:
        raise InputError("rows are read from .parquet and .jsonl", where=str(path), remedy="convert the file")
    for number, record in enumerate(records, start=1):
        try:
            generation = int(record[generation_field]) if generation_field else 0
            yield SourceRow(str(record[id_field]), kind, generation, record[text_field])
        except KeyError as error:
            raise InputError(
                f"record {number} has no field {error}", where=str(path), remedy=f"it has {', '.join(record)}"
            ) from error


def _parquet_records(path: Path, columns: list[str]) -> Iterator[Mapping[str, Any]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            present = [name for name in columns if name in file.schema_arrow.names]
            for batch in file.iter_batches(batch_size=_BATCH_ROWS, columns=present):
                yield from batch.to_pylist()
    except (pa.ArrowException, OSError) as error:
        raise InputError(f"cannot read the rows: {error}", where=str(path), remedy="check the file") from error


def _json_records(path: Path) -> Iterator[Mapping[str, Any]]:
    try:
        with path.open("rb") as file:
            for number, line in enumerate(file, start=1):
                record = json.loads(line)
                if not isinstance(record, dict):
                    raise InputError(f"line {number} is not a JSON object", where=str(path))
                yield record
    except OSError as error:
        raise InputError(f"cannot read the rows: {error.strerror}", where=str(path)) from error
    except ValueError as error:
        raise InputError(f"not JSON lines: {error}", where=str(path), remedy="one JSON object per line") from error
