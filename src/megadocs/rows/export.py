"""Taking a stream elsewhere: its rows, in order, in the formats other trainers read.

    export_stream(store, stream.order(0), directory, name="stitched", group_documents=True, facts={...})

    <directory>/megatron/<name>.bin, .idx     Megatron-LM's indexed dataset (also NeMo, LLM Foundry converters)
                memmap/tokens.bin, offsets.npy   headerless tokens and row offsets
                data/train-00000-of-00001.parquet ...   text and provenance, the form the hub shows
                README.md, export.json           dataset card; counts and the SHA-256 of every data file

Rows keep their separators: concatenate in the order given, then split; plain causal attention over the window. Memory
stays flat: tokens are copied in pieces, texts one shard at a time.
"""

from __future__ import annotations

import struct
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from megadocs.errors import InputError, StoreError
from megadocs.kinds import row_kind_of_code
from megadocs.rows.dataset_card import dataset_card
from megadocs.rows.row_store import RowStore
from megadocs.rows.segment import ROWS_FILE
from megadocs.store.files import file_sha256, make_directory, store_error, write_bytes_atomic, write_json_atomic

Int64Array = npt.NDArray[np.int64]

FORMATS = ("megatron", "memmap", "parquet")

_MEGATRON_MAGIC = b"MMIDIDX\x00\x00"
_MEGATRON_CODES = {"uint16": 8, "int32": 4}
_SHARD_TOKENS = 50_000_000


def export_stream(
    store: RowStore,
    order: Int64Array,
    directory: str | Path,
    *,
    name: str,
    group_documents: bool,
    formats: Collection[str] = FORMATS,
    facts: Mapping[str, Any] | None = None,
    shard_tokens: int = _SHARD_TOKENS,
) -> dict[str, Any]:
    """Write a stream's rows in order.

    Args:
        order: row indices in stream order, int64 (R,).
        directory: new or empty.
        name: the stream's name, for files and the card.
        group_documents: make consecutive rows of one document one Megatron sequence. Megatron shuffles sequences, so a
            stitched stream needs it to stay stitched; for a shuffled stream each row is a sequence.
        formats: some of `FORMATS`.
        facts: what the card should tell (recipe name, generator, context length ...).
        shard_tokens: tokens of one Parquet file.

    Returns:
        The content of export.json: counts and files.

    Raises:
        InputError: unknown format, or the directory is not empty.
        StoreError: writing failed.
    """
    directory = Path(directory)
    unknown = sorted(set(formats) - set(FORMATS))
    if unknown:
        raise InputError(f"unknown export formats: {', '.join(unknown)}", remedy=f"use some of {', '.join(FORMATS)}")
    if directory.exists() and any(directory.iterdir()):
        raise InputError("the export directory is not empty", where=str(directory), remedy="name another one")
    try:
        if "memmap" in formats:
            _write_memmap(store, order, directory / "memmap")
        if "megatron" in formats:
            _write_megatron(store, order, directory / "megatron", name, group_documents)
        if "parquet" in formats:
            _write_parquet(store, order, directory / "data", shard_tokens)
        summary = _summary(store, order, directory, name, group_documents, facts or {})
        write_bytes_atomic(directory / "README.md", dataset_card(summary).encode("utf-8"))
        write_json_atomic(directory / "export.json", summary)
    except OSError as error:
        raise store_error("cannot write the export", directory, error) from error
    return summary


def _write_memmap(store: RowStore, order: Int64Array, directory: Path) -> None:
    """tokens.bin (uint16 or uint32, little-endian) and offsets.npy, row after row."""
    make_directory(directory)
    with (directory / "tokens.bin").open("wb") as file:
        _copy_tokens(store, order, file, _stored_dtype(store))
    np.save(directory / "offsets.npy", _offsets(store.table.num_tokens[order]))


def _write_megatron(store: RowStore, order: Int64Array, directory: Path, name: str, group_documents: bool) -> None:
    """Megatron's .bin and .idx: tokens as uint16 or int32, then lengths, byte pointers and document bounds."""
    make_directory(directory)
    dtype = np.dtype("<u2") if _stored_dtype(store).itemsize == 2 else np.dtype("<i4")
    stem = name.replace(":", "-").replace("/", "-")
    with (directory / f"{stem}.bin").open("wb") as file:
        _copy_tokens(store, order, file, dtype)
    lengths = store.table.num_tokens[order].astype(np.int64)
    if group_documents and len(order):
        documents = store.table.document_index[order]
        starts = np.flatnonzero(np.concatenate(([True], documents[1:] != documents[:-1])))
        lengths = np.add.reduceat(lengths, starts)
    if len(lengths) and int(lengths.max()) >= 1 << 31:
        raise StoreError("a sequence is longer than Megatron's 2**31 tokens", where=str(directory))
    with (directory / f"{stem}.idx").open("wb") as file:
        file.write(_MEGATRON_MAGIC)
        file.write(struct.pack("<QBQQ", 1, _MEGATRON_CODES[dtype.name], len(lengths), len(lengths) + 1))
        file.write(lengths.astype("<i4").tobytes())
        file.write((_offsets(lengths)[:-1] * dtype.itemsize).astype("<i8").tobytes())
        file.write(np.arange(len(lengths) + 1, dtype="<i8").tobytes())


def _write_parquet(store: RowStore, order: Int64Array, directory: Path, shard_tokens: int) -> None:
    """Shards of text with provenance, in stream order."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    make_directory(directory)
    table = store.table
    bounds = _shard_bounds(table.num_tokens[order], shard_tokens)
    for shard, (begin, end) in enumerate(bounds):
        rows = order[begin:end]
        columns = {
            "position": pa.array(np.arange(begin, end)),
            "document_id": pa.array([table.document_ids[index] for index in table.document_index[rows].tolist()]),
            "kind": pa.array([row_kind_of_code(code).name for code in table.kind[rows].tolist()]),
            "generation": pa.array(table.generation[rows]),
            "num_tokens": pa.array(table.num_tokens[rows]),
            "text": _texts(store, rows),
        }
        path = directory / f"train-{shard:05d}-of-{len(bounds):05d}.parquet"
        pq.write_table(pa.table(columns), path, compression="zstd", row_group_size=4096)


def _texts(store: RowStore, rows: Int64Array) -> Any:
    """The rows' texts as an Arrow column, in the order given; reads each needed row group once."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    segments = store.table.segment[rows]
    taken, places = [], []
    for segment in np.unique(segments).tolist():
        wanted = np.flatnonzero(segments == segment)
        within = rows[wanted] - int(np.searchsorted(store.table.segment, segment))
        with pq.ParquetFile(store.segments[segment] / ROWS_FILE) as file:
            sizes = [file.metadata.row_group(group).num_rows for group in range(file.num_row_groups)]
            ends = np.cumsum(sizes)
            group_of_row = np.searchsorted(ends, within, side="right")
            for group in np.unique(group_of_row).tolist():
                here = np.flatnonzero(group_of_row == group)
                column = file.read_row_group(group, columns=["text"]).column("text").combine_chunks()
                taken.append(column.take(pa.array(within[here] - (ends[group] - sizes[group]))))
                places.append(wanted[here])
    back = np.empty(len(rows), dtype=np.int64)
    back[np.concatenate(places)] = np.arange(len(rows))
    return pa.chunked_array(taken).take(pa.array(back))


def _copy_tokens(store: RowStore, order: Int64Array, file: IO[bytes], dtype: np.dtype[Any]) -> None:
    table = store.table
    for begin, end in _shard_bounds(table.num_tokens[order], 1 << 22):
        rows = order[begin:end]
        starts, counts = table.start[rows].tolist(), table.num_tokens[rows].tolist()
        segments = table.segment[rows].tolist()
        pieces = [
            store.tokens[segment][start : start + count]
            for segment, start, count in zip(segments, starts, counts, strict=True)
        ]
        file.write(np.concatenate(pieces).astype(dtype, copy=False).tobytes())


def _shard_bounds(num_tokens: npt.NDArray[np.int32], shard_tokens: int) -> list[tuple[int, int]]:
    """Ranges of rows with at most about `shard_tokens` tokens each, at least one row each."""
    shard = (np.cumsum(num_tokens, dtype=np.int64) - num_tokens) // shard_tokens
    starts = np.flatnonzero(np.concatenate(([True], shard[1:] != shard[:-1]))).tolist() if len(shard) else []
    return list(zip(starts, [*starts[1:], len(num_tokens)], strict=True))


def _offsets(lengths: npt.NDArray[Any]) -> Int64Array:
    offsets = np.zeros(len(lengths) + 1, dtype=np.int64)
    np.cumsum(lengths, out=offsets[1:])
    return offsets


def _stored_dtype(store: RowStore) -> np.dtype[Any]:
    return np.dtype("<u2") if store.vocab_size <= 1 << 16 else np.dtype("<u4")


def _summary(
    store: RowStore, order: Int64Array, directory: Path, name: str, group_documents: bool, facts: Mapping[str, Any]
) -> dict[str, Any]:
    table = store.table
    codes, counts = np.unique(table.kind[order], return_counts=True)
    return {
        "name": name,
        "num_rows": len(order),
        "num_tokens": int(table.num_tokens[order].sum(dtype=np.int64)),
        "num_documents": len(np.unique(table.document_index[order])),
        "rows_by_kind": {
            row_kind_of_code(code).name: count for code, count in zip(codes.tolist(), counts.tolist(), strict=True)
        },
        "vocab_size": store.vocab_size,
        "token_dtype": _stored_dtype(store).name,
        "separators_per_row": store.separators_per_row,
        "tokenizer_fingerprint": store.tokenizer_fingerprint,
        "megatron_sequences": "documents" if group_documents else "rows",
        "facts": dict(facts),
        "files": dict(_files(directory)),
    }


def _files(directory: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    for path in sorted(directory.rglob("*")):
        if path.is_file():
            facts = {"bytes": path.stat().st_size, "sha256": file_sha256(path)}
            yield path.relative_to(directory).as_posix(), facts
