"""Rows from published datasets: real documents, megadocs and stretched documents that someone else generated.

    manifest, account = build_published_rows(config, tokenizer, segments_dir)

The datasets come as Parquet, local or on the hub, one text column and perhaps an id. Megadocs come in two forms: a
record holds one whole, its rows divided by separator strings; or its rows are consecutive records. Where there is no
id, a document is named by the SHA-256 of its real text: the real row of a megadoc, or the stretched text without its
thoughts. So the same document in two datasets is the same document, and sub-sampling keeps the same ones everywhere.
A shuffled ("simple") dataset needs no reading of its own: it is the stitched one's rows in another order.
"""

from __future__ import annotations

import glob
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from megadocs.errors import InputError
from megadocs.recipe import PublishedConfig, PublishedDataset
from megadocs.rows.build import build_rows
from megadocs.rows.encode import RowTokenizer
from megadocs.rows.manifest import RowsManifest
from megadocs.rows.source import SourceRow
from megadocs.seeding import document_key, mix, text_digest

_BATCH_ROWS = 256
_HUB_PREFIX = "hf://"


def build_published_rows(
    config: PublishedConfig, tokenizer: RowTokenizer, segments_dir: str | Path, *, num_workers: int = 1
) -> tuple[RowsManifest, dict[str, int]]:
    """Rows of all datasets of the section, and counts: records read, rows kept, repeated, sampled out, empty.

    Raises:
        InputError: a file or column is missing, or a record does not have the form stated.
    """
    account: Counter[str] = Counter()
    manifest = build_rows(iter_published(config, account), tokenizer, segments_dir, num_workers=num_workers)
    return manifest, dict(sorted(account.items()))


def iter_published(config: PublishedConfig, account: Counter[str]) -> Iterator[SourceRow]:
    """The rows of all datasets; a row that an earlier dataset held already is left out and counted."""
    reader = _Reader(config)
    seen: set[tuple[str, str, int]] = set()  # one entry per document and kind, not per row
    for dataset in config.datasets:
        for rows in reader.documents(dataset, account):
            if not _is_kept(config, rows[0].document_id):
                account["rows_sampled_out"] += len(rows)
                continue
            fresh = [row for row in rows if _identity(row) not in seen]
            seen.update(_identity(row) for row in fresh)
            account["rows_repeated"] += len(rows) - len(fresh)
            account["rows_kept"] += len(fresh)
            yield from fresh


def _identity(row: SourceRow) -> tuple[str, str, int]:
    """A document's rephrases come together, so that one entry stands for all of them."""
    return row.document_id, row.kind, row.generation if row.kind == "latent_thoughts" else 0


class _Reader:
    """Turns records into the rows of documents, one document at a time."""

    def __init__(self, config: PublishedConfig) -> None:
        self._separator = re.compile("|".join(re.escape(text) for text in config.separators) or r"(?!)")
        self._thought = re.compile(f"{re.escape(config.think_open)}.*?{re.escape(config.think_close)}", flags=re.DOTALL)

    def documents(self, dataset: PublishedDataset, account: Counter[str]) -> Iterator[list[SourceRow]]:
        """Rows of one document after another."""
        group: list[tuple[str | None, str]] = []
        for number, (name, text) in enumerate(_iter_records(dataset)):
            account["records_read"] += 1
            pieces = [piece for piece in self._separator.split(text) if piece.strip()]
            if not pieces:
                account["records_empty"] += 1
                continue
            if dataset.form == "stitched":
                group += [(name, piece) for piece in pieces]
                if (number + 1) % (dataset.rows_per_document or 1) == 0:
                    yield self._megadoc(dataset, group, number)
                    group = []
                continue
            if len(pieces) > 1:
                raise InputError(
                    f"record {number} holds {len(pieces)} rows; a dataset of form {dataset.form!r} has one a record",
                    where=dataset.source,
                    remedy="is it of another form (stitched), or are these separators text?",
                )
            yield [self._single(dataset, name, pieces[0], number)]
        if group:
            raise InputError(
                f"the last megadoc has {len(group)} rows instead of {dataset.rows_per_document}",
                where=dataset.source,
                remedy="check rows_per_document: the generations and, if it is in, the real document",
            )

    def _single(self, dataset: PublishedDataset, name: str | None, text: str, number: int) -> SourceRow:
        if dataset.form == "real":
            return SourceRow(name or text_digest(text), "real", 0, text)
        if dataset.form == "self_distilled":
            return SourceRow(name or f"{text_digest(text)}-{number}", "self_distilled", number, text)
        if dataset.num_generations is None:
            raise InputError("the G of its thoughts is not given", where=dataset.source, remedy="set num_generations")
        real_text = self._thought.sub("", text)
        return SourceRow(name or text_digest(real_text), "latent_thoughts", dataset.num_generations, text)

    def _megadoc(self, dataset: PublishedDataset, group: list[tuple[str | None, str]], number: int) -> list[SourceRow]:
        """Rephrases by their place, and the real document."""
        names = {name for name, _ in group}
        if len(names) > 1:
            raise InputError(
                f"the megadoc that ends at record {number} has rows of {len(names)} documents",
                where=dataset.source,
                remedy="check rows_per_document and id_field",
            )
        texts = [text for _, text in group]
        real = None
        if dataset.real_document != "none":
            real = texts.pop(-1 if dataset.real_document == "last" else 0)
        name = group[0][0] or (text_digest(real) if real is not None else text_digest(texts[0]))
        rows = [SourceRow(name, "rephrase", generation, text) for generation, text in enumerate(texts)]
        return rows if real is None else [*rows, SourceRow(name, "real", 0, real)]


def _is_kept(config: PublishedConfig, document_id: str) -> bool:
    """Whether the document's hash lies in the share that is kept: the same answer for every dataset."""
    limit = int(config.document_fraction * (1 << 64))
    return mix(config.seed ^ document_key(document_id)) < limit


def _iter_records(dataset: PublishedDataset) -> Iterator[tuple[str | None, str]]:
    """(id or None, text) of every record, in the order of files and records."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns = [dataset.text_field, *([dataset.id_field] if dataset.id_field else [])]
    for path in _parquet_files(dataset.source):
        try:
            with pq.ParquetFile(path) as file:
                _require_columns(file.schema_arrow.names, columns, path)
                for batch in file.iter_batches(batch_size=_BATCH_ROWS, columns=columns):
                    texts = batch.column(dataset.text_field).to_pylist()
                    ids: list[Any] = (
                        batch.column(dataset.id_field).to_pylist() if dataset.id_field else [None] * len(texts)
                    )
                    for name, text in zip(ids, texts, strict=True):
                        yield (None if name is None else str(name)), text or ""
        except (pa.ArrowException, OSError) as error:
            raise InputError(f"cannot read the dataset: {error}", where=str(path)) from error


def _require_columns(found: list[str], columns: list[str], path: Path) -> None:
    missing = [name for name in columns if name not in found]
    if missing:
        raise InputError(
            f"there is no column {missing[0]!r}",
            where=str(path),
            remedy=f"its columns are {', '.join(found)}: set text_field or id_field",
        )


def _parquet_files(source: str) -> list[Path]:
    """Local files by path, folder or glob, in the order of their names; or a hub dataset's, downloaded."""
    if source.startswith(_HUB_PREFIX):
        return _download(source.removeprefix(_HUB_PREFIX))
    path = Path(source).expanduser()
    if path.is_dir():
        files = sorted(path.rglob("*.parquet"))
    elif path.is_file():
        files = [path]
    else:
        files = sorted(Path(name) for name in glob.glob(str(path), recursive=True))  # noqa: PTH207 (absolute patterns)
    if not files:
        raise InputError("no Parquet files there", where=source, remedy="give a file, folder, glob or hf://org/name")
    return files


def _download(name: str) -> list[Path]:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        folder = snapshot_download(name, repo_type="dataset", allow_patterns="*.parquet")
    except (LocalEntryNotFoundError, HfHubHTTPError, HFValidationError, OSError) as error:
        raise InputError(
            f"cannot get the dataset: {str(error).splitlines()[0]}",
            where=f"{_HUB_PREFIX}{name}",
            remedy="check the name and the network, or give local Parquet files",
        ) from error
    files = sorted(Path(folder).rglob("*.parquet"))
    if not files:
        raise InputError("the dataset has no Parquet files", where=f"{_HUB_PREFIX}{name}")
    return files
