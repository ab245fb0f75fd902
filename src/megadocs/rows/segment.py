"""A segment: an immutable run of tokenised rows in a directory named by its content.

    <segments>/<name>/tokens.bin      all tokens, little-endian uint16 (vocabulary up to 65,536) or uint32, no header
                      offsets.npy     int64 (rows + 1): row r is tokens[offsets[r]:offsets[r + 1]]
                      rows.parquet    document_id, kind, generation, num_tokens, num_missing_thoughts, content_key, text
                      segment.json    sizes and SHA-256 of the three, written last

Equal rows in equal order give equal bytes, whatever the number of workers, hence the same name: a segment that exists
is never written again, and growing a store touches nothing old. The files open with numpy, pyarrow, and whatever reads
headerless token files (OLMo-core, nanoGPT).
"""

from __future__ import annotations

import hashlib
import os
import secrets
import shutil
import socket
from array import array
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from megadocs.errors import InputError
from megadocs.recipe.fingerprint import fingerprint
from megadocs.rows.source import SourceRow
from megadocs.store.files import (
    file_sha256,
    fsync_directory,
    fsync_file,
    make_directory,
    store_error,
    write_json_atomic,
)

TOKENS_FILE, OFFSETS_FILE, ROWS_FILE, SEGMENT_FILE = "tokens.bin", "offsets.npy", "rows.parquet", "segment.json"

_FORMAT = 1
_BUFFER_BYTES = 1 << 20
_GROUP_ROWS = 1024
_GROUP_CHARACTERS = 1 << 20


@dataclass(frozen=True, slots=True)
class SegmentEntry:
    """What a manifest knows of a segment."""

    name: str  # its directory; a hash of everything below
    num_rows: int
    num_tokens: int  # tokens, separators included
    dtype: str  # "uint16" or "uint32", stored little-endian
    files: dict[str, dict[str, Any]]  # file name -> {"bytes": size, "sha256": hex}

    def to_json(self) -> dict[str, Any]:
        """A JSON object that `SegmentEntry(**object)` reads back."""
        return asdict(self)


def token_dtype(vocab_size: int) -> np.dtype[np.uint16] | np.dtype[np.uint32]:
    """The narrowest stored type that holds every id.

    Raises:
        InputError: the vocabulary does not fit 32 bits.
    """
    if vocab_size <= 1 << 16:
        return np.dtype("<u2")
    if vocab_size <= 1 << 31:  # batches are int32
        return np.dtype("<u4")
    raise InputError(
        f"a vocabulary of {vocab_size} does not fit 31 bits", where="tokenizer", remedy="use another tokenizer"
    )


def content_key(tokens: npt.NDArray[np.uint32]) -> int:
    """First 8 bytes, little-endian, of the SHA-256 of the row's tokens as uint32: what stream fingerprints cover."""
    return int.from_bytes(hashlib.sha256(tokens.astype("<u4", copy=False).tobytes()).digest()[:8], "little")


class SegmentWriter:
    """Writes one segment row by row in flat memory; `close` publishes it under its name.

    Args:
        segments_dir: where segments live; the unfinished one works in a hidden directory there.
        vocab_size: of the tokenizer.
    """

    def __init__(self, segments_dir: str | Path, vocab_size: int) -> None:
        self._root = Path(segments_dir)
        self._vocab_size = vocab_size
        self._dtype = token_dtype(vocab_size)
        self._directory = self._root / f".partial-{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(6)}"
        try:
            make_directory(self._root)
            self._directory.mkdir()
            self._tokens_file = (self._directory / TOKENS_FILE).open("wb", buffering=_BUFFER_BYTES)
        except OSError as error:
            raise store_error("cannot make a segment", self._directory, error) from error
        self._digest = hashlib.sha256()
        self._ends = array("q", [0])
        self._rows = _RowsFile(self._directory / ROWS_FILE)

    def append(self, row: SourceRow, tokens: npt.NDArray[np.uint32]) -> None:
        """Add a row with its tokens, separators included."""
        if len(tokens) and int(tokens.max()) >= self._vocab_size:
            raise InputError(
                f"token {int(tokens.max())} is outside the vocabulary of {self._vocab_size}",
                where=row.document_id,
                remedy="the tokenizer is inconsistent: check its files",
            )
        data = tokens.astype(self._dtype, copy=False).tobytes()
        self._digest.update(data)
        try:
            self._tokens_file.write(data)
            self._rows.append(row, len(tokens), content_key(tokens))
        except OSError as error:
            raise store_error("cannot write a segment", self._directory, error) from error
        self._ends.append(self._ends[-1] + len(tokens))

    def close(self) -> SegmentEntry:
        """Finish the files, name the segment by its content and move it into place (or drop it: it was there)."""
        try:
            self._tokens_file.close()
            self._rows.close()
            np.save(self._directory / OFFSETS_FILE, np.frombuffer(self._ends, dtype=np.int64))
            files = {TOKENS_FILE: self._facts(TOKENS_FILE, self._digest.hexdigest())}
            for name in (OFFSETS_FILE, ROWS_FILE):
                files[name] = self._facts(name, file_sha256(self._directory / name))
            facts: dict[str, Any] = {
                "num_rows": len(self._ends) - 1,
                "num_tokens": self._ends[-1],
                "dtype": self._dtype.name,
                "files": files,
            }
            entry = SegmentEntry(name=fingerprint(facts, num_hex=32), **facts)
            write_json_atomic(self._directory / SEGMENT_FILE, {"format": _FORMAT, **facts})
            self._publish(entry.name)
        except OSError as error:
            raise store_error("cannot finish a segment", self._directory, error) from error
        return entry

    def discard(self) -> None:
        """Drop the unfinished segment (after an error)."""
        self._tokens_file.close()
        self._rows.close()
        shutil.rmtree(self._directory, ignore_errors=True)

    def _facts(self, name: str, sha256: str) -> dict[str, Any]:
        path = self._directory / name
        fsync_file(path)
        return {"bytes": path.stat().st_size, "sha256": sha256}

    def _publish(self, name: str) -> None:
        final = self._root / name
        if not (final / SEGMENT_FILE).is_file():
            try:
                self._directory.rename(final)
                fsync_directory(self._root)
                return
            except OSError:
                if not (final / SEGMENT_FILE).is_file():  # else another process published the same content
                    raise
        shutil.rmtree(self._directory)


class _RowsFile:
    """rows.parquet, written in groups whose bounds depend on the rows alone."""

    def __init__(self, path: Path) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        self._schema = pa.schema(
            [
                ("document_id", pa.string()),
                ("kind", pa.string()),
                ("generation", pa.int32()),
                ("num_tokens", pa.int32()),
                ("num_missing_thoughts", pa.int32()),
                ("content_key", pa.uint64()),
                ("text", pa.string()),
            ]
        )
        self._table_of = pa.Table.from_pydict
        self._writer = pq.ParquetWriter(
            path, self._schema, compression="zstd", use_dictionary=["document_id", "kind"], write_statistics=False
        )
        self._characters = 0
        self._columns: dict[str, list[Any]] = {name: [] for name in self._schema.names}

    def append(self, row: SourceRow, num_tokens: int, key: int) -> None:
        values = (row.document_id, row.kind, row.generation, num_tokens, row.num_missing_thoughts, key, row.text)
        for column, value in zip(self._columns.values(), values, strict=True):
            column.append(value)
        self._characters += len(row.text)
        if len(self._columns["kind"]) >= _GROUP_ROWS or self._characters >= _GROUP_CHARACTERS:
            self._flush()

    def close(self) -> None:
        self._flush()
        self._writer.close()

    def _flush(self) -> None:
        if self._columns["kind"]:
            self._writer.write_table(self._table_of(self._columns, schema=self._schema))
        self._columns = {name: [] for name in self._schema.names}
        self._characters = 0


def remove_stale_partials(segments_dir: str | Path) -> int:
    """Delete what killed builders of this machine left behind; returns how many directories went."""
    removed = 0
    prefix = f".partial-{socket.gethostname()}-"
    for path in sorted(Path(segments_dir).glob(f"{prefix}*")):
        pid = path.name.removeprefix(prefix).split("-")[0]
        if pid.isdigit() and not _is_alive(int(pid)):
            shutil.rmtree(path, ignore_errors=True)
            removed += 1
    return removed


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
