"""A split corpus on disk: `documents.parquet` (one row per document) and `corpus.json` (counts and report).

Columns: split, rank (position within the split; training order), id, text, group (source record), meta (JSON). The
bytes depend on the documents only.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from megadocs.corpus.split import SplitCorpus
from megadocs.documents import Document
from megadocs.errors import DamagedError, StoreError
from megadocs.store.files import read_json, write_json_atomic

_DOCUMENTS = "documents.parquet"
_SUMMARY = "corpus.json"
_SPLITS = ("train", "validation", "test", "probe")
_BATCH_ROWS = 2048


def write_corpus(corpus: SplitCorpus, directory: Path) -> dict[str, Any]:
    """Write both files into an existing directory; returns what stands in `corpus.json`.

    Raises:
        StoreError: the disk is full or not writable.
    """
    import pyarrow as pa
    from pyarrow import parquet

    directory = Path(directory)
    names = ("split", "rank", "id", "text", "group", "meta")
    types = (pa.string(), pa.int64(), pa.string(), pa.large_string(), pa.string(), pa.string())
    schema = pa.schema(list(zip(names, types, strict=True)))
    try:
        with parquet.ParquetWriter(directory / _DOCUMENTS, schema, compression="zstd") as writer:
            for split in _SPLITS:
                documents: list[Document] = getattr(corpus, split)
                for start in range(0, len(documents), _BATCH_ROWS):
                    batch = documents[start : start + _BATCH_ROWS]
                    rows = [_row(split, start + index, document) for index, document in enumerate(batch)]
                    writer.write_table(pa.Table.from_pylist(rows, schema=schema))
    except OSError as error:
        raise StoreError(f"cannot write the corpus: {error}", where=str(directory / _DOCUMENTS)) from error
    splits = [split for split in _SPLITS if split != "probe" or corpus.probe]  # as before where there is no probe
    summary = {
        "num_train_1x": corpus.num_train_1x,
        "max_multiple": corpus.max_multiple,
        "num_documents": {split: len(getattr(corpus, split)) for split in splits},
        "num_characters": {split: sum(len(doc.text) for doc in getattr(corpus, split)) for split in splits},
        "num_groups": {split: len({doc.meta.get("group") for doc in getattr(corpus, split)}) for split in splits},
        "report": corpus.report,
    }
    write_json_atomic(directory / _SUMMARY, summary)
    return summary


def read_corpus(directory: Path) -> SplitCorpus:
    """Read what `write_corpus` wrote.

    Raises:
        DamagedError: the table cannot be read or does not hold what `corpus.json` says.
        StoreError: a file is missing.
    """
    import pyarrow as pa
    from pyarrow import parquet

    directory = Path(directory)
    summary = read_json(directory / _SUMMARY)
    splits: dict[str, list[Document]] = {split: [] for split in _SPLITS}
    path = directory / _DOCUMENTS
    try:
        with parquet.ParquetFile(path) as table:
            for batch in table.iter_batches(batch_size=_BATCH_ROWS):
                for row in batch.to_pylist():
                    splits[row["split"]].append(Document(row["id"], row["text"], json.loads(row["meta"])))
    except FileNotFoundError as error:
        raise StoreError("the corpus table is missing", where=str(path)) from error
    except (pa.ArrowException, OSError, KeyError, ValueError) as error:
        raise DamagedError(f"the corpus table cannot be read: {error}", where=str(path)) from error
    counts = {split: len(documents) for split, documents in splits.items() if split in summary["num_documents"]}
    if counts != summary["num_documents"]:
        raise DamagedError(f"holds {counts} documents, {summary['num_documents']} were written", where=str(path))
    return SplitCorpus(
        **splits,
        num_train_1x=summary["num_train_1x"],
        max_multiple=summary["max_multiple"],
        report=summary["report"],
    )


def _row(split: str, rank: int, document: Document) -> dict[str, Any]:
    meta = dict(sorted(document.meta.items()))
    return {
        "split": split,
        "rank": rank,
        "id": document.id,
        "text": document.text,
        "group": document.group,
        "meta": json.dumps(meta, ensure_ascii=False, sort_keys=True, separators=(",", ":")),
    }
