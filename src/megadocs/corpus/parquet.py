"""Records of a Parquet file, read in small batches.

Only the text and id columns are read. Text columns may be strings or UTF-8 bytes, dictionary-encoded or not; a value
that is not UTF-8 is one rejected record, a file that cannot be read is an error.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from megadocs.corpus.records import Intake, Record, RejectedRecordError
from megadocs.corpus.sources import SourceFile, missing_field, record_of
from megadocs.errors import InputError
from megadocs.recipe.data import CorpusConfig

_BATCH_ROWS = 512
_MAX_EXPANSION = 1000
_FREE_BYTES = 1 << 30


def iter_parquet(file: SourceFile, config: CorpusConfig, intake: Intake) -> Iterator[Record]:
    """The records of one Parquet file in its own order.

    Raises:
        InputError: not Parquet, truncated, damaged, a decompression bomb, or without the named columns.
    """
    import pyarrow as pa
    from pyarrow import parquet

    try:
        # Opened here: pyarrow takes no names that are not UTF-8.
        with file.path.open("rb") as raw, parquet.ParquetFile(raw, thrift_string_size_limit=64 << 20) as table:
            columns = _columns(table, config, file)
            position = 0
            for batch in table.iter_batches(batch_size=_BATCH_ROWS, columns=columns):
                for values in _rows(batch):
                    position += 1
                    intake.num_records += 1
                    try:
                        yield record_of(values, config, file)
                    except RejectedRecordError as error:
                        intake.reject(error.reason, f"{file.name}:{position}")
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:  # damaged column names are not UTF-8
        message = (str(error).strip().splitlines() or ["no message"])[0]
        raise InputError(
            f"unreadable Parquet file: {message}", where=str(file.path), remedy="fetch or write the file again"
        ) from error


def _columns(table: Any, config: CorpusConfig, file: SourceFile) -> list[str]:
    import pyarrow as pa

    schema = table.schema_arrow
    wanted = {"corpus.text_field": config.text_field}
    if config.id_field is not None:
        wanted["corpus.id_field"] = config.id_field
    for key, name in wanted.items():
        if name not in schema.names:
            raise missing_field(key, name, schema.names, str(file.path))
        if schema.names.count(name) > 1:
            raise InputError(
                f"{schema.names.count(name)} columns are named {name!r}",
                where=f"{file.path} ({key})",
                remedy="rename one of them; which holds the text cannot be told",
            )
    value_type = schema.field(config.text_field).type
    if pa.types.is_dictionary(value_type):
        value_type = value_type.value_type
    if not _is_text(value_type) and not pa.types.is_null(value_type):  # a shard of nulls alone has no better type
        where = f"{file.path} (corpus.text_field)"
        raise InputError(f"column {config.text_field!r} holds {value_type}, not text", where=where)
    _refuse_bomb(table.metadata, file)
    return list(dict.fromkeys(wanted.values()))


def _is_text(value_type: Any) -> bool:
    import pyarrow as pa

    checks = (pa.types.is_string, pa.types.is_large_string, pa.types.is_binary, pa.types.is_large_binary)
    is_view = pa.types.is_string_view(value_type) or pa.types.is_binary_view(value_type)
    return is_view or any(check(value_type) for check in checks)


def _refuse_bomb(metadata: Any, file: SourceFile) -> None:
    declared = sum(metadata.row_group(index).total_byte_size for index in range(metadata.num_row_groups))
    if declared > _FREE_BYTES + _MAX_EXPANSION * file.path.stat().st_size:
        raise InputError(
            f"declares {declared >> 20} MiB of content, more than {_MAX_EXPANSION} times its size",
            where=str(file.path),
            remedy="look at the file; if it is sound, write it again without such compression",
        )


def _rows(batch: Any) -> Iterator[dict[str, Any]]:
    import pyarrow as pa

    columns = {}
    for name in batch.schema.names:
        column = batch.column(name)
        if pa.types.is_dictionary(column.type):
            column = column.dictionary_decode()
        if _is_text(column.type):
            column = column.cast(pa.large_binary())  # decoded value by value: one bad value is one reject
        columns[name] = column
    for index in range(batch.num_rows):
        yield {name: column[index].as_py() for name, column in columns.items()}
