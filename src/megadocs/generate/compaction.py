"""Compacting a ledger to Parquet: every final record once, sorted by identity, for storage and for other tools.

    compact_ledger(ledger_dir, path)      # the ledger itself is not changed
    restore_ledger(path, ledger_dir)      # back into a ledger, where resuming and growing go on

The round trip keeps every record byte for byte. Superseded records are left behind; memory stays flat.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np

from megadocs.errors import DamagedError
from megadocs.generate.ledger import Ledger, load_index
from megadocs.generate.records import EarlierReply, GenerationRecord
from megadocs.store.files import fsync_directory, fsync_file

_ROWS_PER_GROUP = 4096
#: Fields that are no plain column: JSON, null where there is nothing.
_AS_JSON = ("reply", "earlier")


def compact_ledger(ledger_dir: Path, path: Path) -> int:
    """Write the last record of every identity to a Parquet file, atomically; returns their number."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    index = load_index(ledger_dir)
    schema = pa.schema(_columns(pa))
    temporary = path.with_name(f".{path.name}.tmp")
    records = index.read(np.arange(len(index), dtype=np.int64))
    count = 0
    with pq.ParquetWriter(temporary, schema, compression="zstd", version="2.6", store_schema=False) as writer:
        while batch := list(itertools.islice(records, _ROWS_PER_GROUP)):
            rows = [_row(record) for record in batch if record is not None]
            count += len(rows)
            writer.write_table(pa.Table.from_pylist(rows, schema=schema))
    fsync_file(temporary)
    temporary.replace(path)
    fsync_directory(path.parent)
    return count


def restore_ledger(path: Path, ledger_dir: Path) -> int:
    """Append the records of a compacted file that a ledger lacks; returns how many there were.

    Raises:
        DamagedError: the file is not one of `compact_ledger`.
        LockedError: another process writes the ledger.
    """
    with Ledger(ledger_dir) as ledger:
        count = 0
        rows = _iter_rows(path)
        while batch := list(itertools.islice(rows, _ROWS_PER_GROUP)):
            found = ledger.index.find([record.identity for record in batch])
            for record, position in zip(batch, found.tolist(), strict=True):
                if position < 0:
                    ledger.append(record)
                    count += 1
        ledger.sync()
    return count


def _iter_rows(path: Path) -> Iterator[GenerationRecord]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=_ROWS_PER_GROUP):
                for row in batch.to_pylist():
                    yield _record(row)
    except (pa.ArrowException, TypeError, KeyError) as error:
        raise DamagedError("not a compacted ledger", where=str(path)) from error


def _row(record: GenerationRecord) -> dict[str, Any]:
    row = {item.name: getattr(record, item.name) for item in fields(GenerationRecord)}
    as_json = {name: json.dumps(row[name], ensure_ascii=False) if row[name] else None for name in _AS_JSON}
    return {**row, "flags": list(record.flags), **as_json}


def _record(row: dict[str, Any]) -> GenerationRecord:
    reply, earlier = (json.loads(row.get(name) or "[]") for name in _AS_JSON)  # older files have neither
    return GenerationRecord(
        **{
            **row,
            "flags": tuple(row["flags"]),
            "reply": tuple(reply) or None,
            "earlier": tuple(EarlierReply(*item) for item in earlier),
        }
    )


def _columns(pa: Any) -> list[Any]:
    kinds = {"int": pa.int64(), "int | None": pa.int64(), "tuple[str, ...]": pa.list_(pa.string())}
    return [pa.field(item.name, kinds.get(str(item.type), pa.string())) for item in fields(GenerationRecord)]
