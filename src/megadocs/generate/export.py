"""Exporting a task's records to Parquet: one row per generation, sorted, bytes a function of the content alone.

Rows of a document that was split for its length are joined again. Likeness among siblings is judged here, in generation
order, so the flag does not depend on which reply arrived first. Only rows with `status == "ok"` carry text.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from megadocs.errors import EngineError, InputError
from megadocs.generate.judgement import iter_judged
from megadocs.generate.ledger import LedgerIndex, load_index
from megadocs.generate.near_copies import Comparable
from megadocs.generate.records import GenerationRecord, with_flags
from megadocs.generate.requests import GenerationRequest
from megadocs.store.files import fsync_directory, fsync_file

_ROWS_PER_GROUP = 4096
_MIN_DOCUMENTS = 8
_COUNTS = ["requested", "exported", "ok", "rejected", "failed", "skipped", "pending", "identical", "new_tokens"]
_COUNTS += ["prompt_tokens", "documents_with_siblings", "documents_without_variety"]


def export_generations(
    requests: Iterable[GenerationRequest], ledger_dir: Path, path: Path, *, with_reasons: bool = False
) -> dict[str, Any]:
    """Write the records of the requests, judged as their recipe judges, to a Parquet file, atomically.

    Args:
        requests: what is wanted; those without a record are counted as pending and left out. A list is sorted here; an
            iterator (for millions) must come in order of document id, generation and part.
        with_reasons: add the column `reason`: what the server said of those that failed.

    Returns:
        Counts: requested, exported, one per status, pending, identical (equal siblings), tokens.

    Raises:
        InputError: an iterator that is not in order.
        EngineError: most documents have the same text in all their generations.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    index = load_index(ledger_dir)
    ordered = sorted(requests, key=_order) if isinstance(requests, list) else _checked_order(requests)
    counts: dict[str, Any] = dict.fromkeys(_COUNTS, 0)
    schema = pa.schema([*_columns(pa), *([pa.field("reason", pa.string())] if with_reasons else [])])
    temporary = path.with_name(f".{path.name}.tmp")
    with pq.ParquetWriter(temporary, schema, compression="zstd", version="2.6", store_schema=False) as writer:
        rows = _rows(ordered, index, counts)
        while batch := list(itertools.islice(rows, _ROWS_PER_GROUP)):
            writer.write_table(pa.Table.from_pylist(batch, schema=schema))
    _require_variety(counts, temporary)
    fsync_file(temporary)
    temporary.replace(path)
    fsync_directory(path.parent)
    return counts


def _require_variety(counts: dict[str, Any], temporary: Path) -> None:
    """G copies of one text are not G generations: a server that ignores the seed is found here."""
    documents, without = counts["documents_with_siblings"], counts["documents_without_variety"]
    if documents >= _MIN_DOCUMENTS and 2 * without > documents:
        temporary.unlink()
        raise EngineError(
            f"all generations of {without} of {documents} documents are identical",
            where="generate.engine",
            remedy="the server ignores the seed, or the temperature is too low: fix it and set another generate.seed",
        )


def _order(request: GenerationRequest) -> tuple[str, int, int]:
    return request.document_id, request.generation, request.part


def _checked_order(requests: Iterable[GenerationRequest]) -> Iterator[GenerationRequest]:
    last: tuple[str, int, int] | None = None
    for request in requests:
        if last is not None and _order(request) <= last:
            raise InputError("requests to export are not in order", where=request.document_id, remedy="sort by id")
        last = _order(request)
        yield request


def _rows(
    requests: Iterable[GenerationRequest], index: LedgerIndex, counts: dict[str, Any]
) -> Iterator[dict[str, Any]]:
    pairs = ((judged.request, judged.record) for judged in iter_judged(requests, index))
    for _, of_document in itertools.groupby(pairs, key=lambda pair: pair[0].document_id):
        siblings: list[Comparable] = []
        for _, group in itertools.groupby(of_document, key=lambda pair: pair[0].generation):
            parts = list(group)
            record = _joined([record for _, record in parts], counts)
            if record is None:
                continue
            if record.status == "ok":
                compared = Comparable.of(record.text)
                if any(record.text == sibling.text for sibling in siblings):
                    record = with_flags(record, "identical", "sibling")
                    counts["identical"] += 1
                elif any(compared.is_near_copy(sibling) for sibling in siblings):
                    record = with_flags(record, "sibling")
                siblings.append(compared)
            counts["exported"] += 1
            yield _row(parts[0][0], record)
        if len(siblings) > 1:
            counts["documents_with_siblings"] += 1
            counts["documents_without_variety"] += len({sibling.text for sibling in siblings}) == 1


def _joined(parts: list[GenerationRecord | None], counts: dict[str, Any]) -> GenerationRecord | None:
    """The parts of one generation as one record; counts every part. None unless all parts have records."""
    for part in parts:
        counts["requested"] += 1
        counts["pending" if part is None else part.status] += 1
        counts["new_tokens"] += part.new_tokens if part else 0
        counts["prompt_tokens"] += part.prompt_tokens if part else 0
    present = [part for part in parts if part is not None]
    if len(present) < len(parts):
        return None
    worst = max(present, key=lambda part: ("ok", "skipped", "rejected", "failed").index(part.status))
    if len(present) == 1 or worst.status != "ok":
        return worst
    return replace(
        present[0],
        text="\n\n".join(part.text for part in present),
        flags=tuple(sorted({flag for part in present for flag in part.flags})),
        prompt_tokens=sum(part.prompt_tokens for part in present),
        new_tokens=sum(part.new_tokens for part in present),
        attempts=max(part.attempts for part in present),
    )


def _columns(pa: Any) -> list[Any]:
    kinds = {
        "identity": pa.string(),
        "document_id": pa.string(),
        "kind": pa.string(),
        "style": pa.string(),
        "generation": pa.int32(),
        "num_generations": pa.int32(),
        "split_character": pa.int64(),
        "text": pa.string(),
        "finish_reason": pa.string(),
        "flags": pa.list_(pa.string()),
        "prompt_tokens": pa.int64(),
        "new_tokens": pa.int64(),
        "attempts": pa.int32(),
        "seed": pa.int64(),
        "status": pa.string(),
        "error": pa.string(),
    }
    return [pa.field(name, kind) for name, kind in kinds.items()]


def _row(request: GenerationRequest, record: GenerationRecord) -> dict[str, Any]:
    """What was asked comes from the request (G may have grown since the record was made), the rest from the record."""
    names = ("identity", "kind", "generation", "num_generations", "split_character")
    row = {"document_id": request.source_document_id} | {name: getattr(request, name) for name in names}
    for name in ("style", "finish_reason", "prompt_tokens", "new_tokens", "attempts", "seed", "status", "error"):
        row[name] = getattr(record, name)
    text = record.text if record.status == "ok" else ""
    return {**row, "text": text, "flags": list(record.flags), "reason": record.message}
