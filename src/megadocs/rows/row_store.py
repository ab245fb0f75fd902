"""Opening rows: manifests in, a row table and plain token arrays out.

    store = open_rows([real_manifest, rephrase_manifest], segments_dir)
    store.table, store.tokens         # what streams/ takes

Tokens stay in memory maps (pages the system may drop), given out as plain `ndarray` views: slicing those is several
times faster than slicing a `memmap`. Opening compares file sizes with the manifest; `verify_manifest` compares content.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from megadocs.errors import DamagedError, InputError
from megadocs.kinds import row_kind
from megadocs.row_table import RowTable
from megadocs.rows.manifest import RowsManifest
from megadocs.rows.segment import OFFSETS_FILE, ROWS_FILE, TOKENS_FILE, SegmentEntry
from megadocs.seeding import document_key, row_key_array

_COLUMNS = ["document_id", "kind", "generation", "num_tokens", "num_missing_thoughts", "content_key"]


@dataclass(frozen=True, slots=True)
class RowStore:
    """Open rows."""

    table: RowTable  # all rows, segment after segment
    tokens: list[npt.NDArray[np.generic]]  # one plain array per segment, uint16 or uint32
    vocab_size: int
    separators_per_row: int  # 2 or 1
    tokenizer_fingerprint: str  # enters stream fingerprints
    segments: tuple[Path, ...]  # the segments' directories, in the table's numbering

    def row_text(self, row: int) -> str:
        """The text of a row, read from its segment."""
        import pyarrow.parquet as pq

        segment = int(self.table.segment[row])
        place = row - int(np.searchsorted(self.table.segment, segment))
        with pq.ParquetFile(self.segments[segment] / ROWS_FILE) as file:
            for group in range(file.num_row_groups):
                count = file.metadata.row_group(group).num_rows
                if place < count:
                    return str(file.read_row_group(group, columns=["text"]).column("text")[place].as_py())
                place -= count
        raise IndexError(f"row {row} is not in its segment")


def open_rows(manifests: Sequence[RowsManifest], segments_dir: str | Path) -> RowStore:
    """Open the rows of several builds together; a segment named twice is opened once.

    Raises:
        InputError: no rows, different tokenizers, or two different rows of one identity.
        DamagedError: a segment's file is missing or has another size than recorded.
    """
    if not manifests:
        raise InputError("no rows to open", where=str(segments_dir), remedy="build rows first")
    first = manifests[0]
    for manifest in manifests:
        if manifest.tokenizer_fingerprint != first.tokenizer_fingerprint:
            raise InputError(
                "the rows were made with different tokenizers", where=str(segments_dir), remedy="build them again"
            )
    entries = list({entry.name: entry for manifest in manifests for entry in manifest.segments}.values())
    directories = tuple(Path(segments_dir) / entry.name for entry in entries)
    for entry, directory in zip(entries, directories, strict=True):
        _check_sizes(entry, directory)
    table = _read_table(entries, directories)
    tokens = [_map_tokens(entry, directory) for entry, directory in zip(entries, directories, strict=True)]
    return RowStore(table, tokens, first.vocab_size, first.separators_per_row, first.tokenizer_fingerprint, directories)


def _check_sizes(entry: SegmentEntry, directory: Path) -> None:
    for name, facts in entry.files.items():
        path = directory / name
        found = path.stat().st_size if path.is_file() else None
        if found != facts["bytes"]:
            raise DamagedError(
                "a file of a row segment is missing" if found is None else f"has {found} bytes, not {facts['bytes']}",
                where=str(path),
                remedy=f"delete {directory} and the rows artifact, then run again",
            )


def _map_tokens(entry: SegmentEntry, directory: Path) -> npt.NDArray[np.generic]:
    dtype = np.dtype(entry.dtype).newbyteorder("<")
    if not entry.num_tokens:
        return np.empty(0, dtype=dtype)
    return np.memmap(directory / TOKENS_FILE, dtype=dtype, mode="r").view(np.ndarray)


def _read_table(entries: Sequence[SegmentEntry], directories: Sequence[Path]) -> RowTable:
    """Columns of all segments; document ids as one dictionary, so that 5 million rows cost their indices only."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    tables, starts = [], []
    for entry, directory in zip(entries, directories, strict=True):
        try:
            part = pq.read_table(directory / ROWS_FILE, columns=_COLUMNS, read_dictionary=["document_id", "kind"])
        except (pa.ArrowException, OSError) as error:
            raise DamagedError(f"cannot read the rows: {error}", where=str(directory / ROWS_FILE)) from error
        offsets = np.load(directory / OFFSETS_FILE)
        if part.num_rows != entry.num_rows or len(offsets) != entry.num_rows + 1:
            raise DamagedError("the files of a segment disagree", where=str(directory), remedy="delete it, run again")
        tables.append(part)
        starts.append(offsets[:-1])
    columns = pa.concat_tables(tables).unify_dictionaries().combine_chunks()
    ids = _dictionary(columns, "document_id")
    index = _indices(columns, "document_id")
    codes = np.array([row_kind(name).code for name in _dictionary(columns, "kind")], dtype=np.uint8)
    kind = codes[_indices(columns, "kind")]
    generation = columns.column("generation").to_numpy()
    keys = np.array([document_key(name) for name in ids], dtype=np.uint64)[index]
    row_key = row_key_array(keys, kind.astype(np.uint64), generation.astype(np.uint64))
    table = RowTable(
        document_ids=ids,
        document_index=index,
        document_key=keys,
        row_key=row_key,
        kind=kind,
        generation=generation,
        num_tokens=columns.column("num_tokens").to_numpy(),
        segment=np.repeat(np.arange(len(entries), dtype=np.int32), [entry.num_rows for entry in entries]),
        start=np.concatenate(starts),
        extra={
            "num_missing_thoughts": columns.column("num_missing_thoughts").to_numpy(),
            "content_key": columns.column("content_key").to_numpy(),
        },
    )
    _refuse_duplicates(table)
    return table


def _chunk(columns: Any, name: str) -> Any:
    column = columns.column(name)
    return column.chunk(0) if column.num_chunks else column.combine_chunks()


def _dictionary(columns: Any, name: str) -> list[str]:
    return [str(value) for value in _chunk(columns, name).dictionary.to_pylist()]


def _indices(columns: Any, name: str) -> npt.NDArray[np.int32]:
    indices: npt.NDArray[np.int32] = _chunk(columns, name).indices.to_numpy().astype(np.int32, copy=False)
    return indices


def _refuse_duplicates(table: RowTable) -> None:
    ordered = np.sort(table.row_key)
    same = np.flatnonzero(ordered[1:] == ordered[:-1])
    if len(same):
        row = int(np.flatnonzero(table.row_key == ordered[same[0]])[0])
        raise InputError(
            f"{len(same)} rows occur twice, for one: kind code {int(table.kind[row])}, generation "
            f"{int(table.generation[row])}",
            where=table.document_ids[table.document_index[row]],
            remedy="open each kind's rows once, from one tokenizer and one set of generations",
        )
