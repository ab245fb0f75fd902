"""The audit of synthetic text: does it leak held-out documents, copy its source, repeat itself, change language?

    audit = audit_generations({"rephrase": path}, train, {"validation": [...], "test": [...]})
    write_audit(audit, workspace / "audit.json")

Leakage is counted as 13-grams of held-out documents that stand in real training text, in synthetic text, and in
synthetic text only: the last is what generation added. Near-duplicates of held-out documents among the training
documents are named. Memory holds the n-grams of the held-out sets and the texts of one document's generations.
"""

from __future__ import annotations

import collections
import itertools
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from megadocs.documents import Document
from megadocs.generate.languages import changed_language
from megadocs.store.files import write_json_atomic
from megadocs.text.near_duplicates import MIN_NGRAMS, SHARE
from megadocs.text.ngrams import DEFAULT_N, build_ngram_index, ngram_hashes
from megadocs.text.words import words

_COPY_N = 8
_SIBLING_N = 5
_OPENING_WORDS = 4
_OPENING_CHARACTERS = 200
_NUM_OPENINGS = 10
_HIGH_COPY_SHARE = 0.8
_QUANTILES = (0.05, 0.5, 0.95)

BoolArray = npt.NDArray[np.bool_]


def audit_generations(
    generations: Mapping[str, Path], train: Sequence[Document], held_out: Mapping[str, Sequence[Document]]
) -> dict[str, Any]:
    """Audit exported generations.

    Args:
        generations: task -> Parquet file of `export_generations`.
        train: the real training documents.
        held_out: name -> documents that must not appear in training text.

    Returns:
        JSON-ready: `overlap` per held-out set, `near_duplicates` (pairs of a held-out and a training document, with
        the share of the shorter one's 13-grams in common), `tasks` per task.
    """
    leaks = [_Leak(name, documents) for name, documents in held_out.items()]
    for document in train:
        for leak in leaks:
            leak.mark_real(document)
    sources = {document.id: document.text for document in train}
    tasks = {task: _audit_task(path, sources, leaks) for task, path in sorted(generations.items())}
    return {
        "ngram": DEFAULT_N,
        "overlap": {leak.name: leak.summary() for leak in leaks},
        "near_duplicates": [pair for leak in leaks for pair in leak.near_duplicates],
        "tasks": tasks,
    }


def write_audit(audit: Mapping[str, Any], path: Path) -> None:
    """Write `audit.json` atomically."""
    write_json_atomic(path, audit)


class _Leak:
    """The n-grams of one held-out set, marked when seen in real and in synthetic text."""

    def __init__(self, name: str, documents: Sequence[Document]) -> None:
        self.name = name
        self._documents = documents
        self._index = build_ngram_index((document.text for document in documents), DEFAULT_N)
        self._in_real: BoolArray = np.zeros(len(self._index.hashes), dtype=bool)
        self._in_synthetic = self._in_real.copy()
        self._owner = np.zeros(len(self._index.hashes), dtype=np.int64)
        self._num_ngrams = np.zeros(len(documents), dtype=np.int64)
        for index, document in enumerate(documents):
            own = np.unique(ngram_hashes(document.text, DEFAULT_N))
            self._owner[np.searchsorted(self._index.hashes, own)] = index
            self._num_ngrams[index] = len(own)
        self.near_duplicates: list[dict[str, Any]] = []

    def mark_real(self, document: Document) -> None:
        """Note what a real training document holds, and of which held-out documents it is a near-duplicate."""
        found, places = self._places(document.text)
        self._in_real[places] = True
        shared = np.bincount(self._owner[places], minlength=len(self._documents))
        shorter = np.minimum(self._num_ngrams, len(found))
        for number in np.flatnonzero((shared >= SHARE * shorter) & (shorter >= MIN_NGRAMS)).tolist():
            held_out, share = self._documents[number].id, round(float(shared[number] / shorter[number]), 4)
            self.near_duplicates.append({"set": self.name, "held_out": held_out, "train": document.id, "share": share})

    def mark_synthetic(self, text: str) -> None:
        """Note what a synthetic text holds."""
        self._in_synthetic[self._places(text)[1]] = True

    def summary(self) -> dict[str, Any]:
        """Shares of the set's distinct n-grams, and documents with at least one n-gram seen."""
        added = self._in_synthetic & ~self._in_real
        total = len(added)
        marks = {"real": self._in_real, "synthetic": self._in_synthetic, "synthetic_only": added}
        touched = dict.fromkeys(marks, 0)
        for document in self._documents:
            places = np.searchsorted(self._index.hashes, ngram_hashes(document.text, DEFAULT_N))
            for name, marked in marks.items():
                touched[name] += bool(marked[places].any()) if len(places) else False
        return {
            "num_documents": len(self._documents),
            "num_ngrams": total,
            "ngram_share": {name: float(marked.sum() / total) if total else 0.0 for name, marked in marks.items()},
            "documents_touched": touched,
        }

    def _places(self, text: str) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.int64]]:
        """The text's distinct n-grams, and the places in the index of those that the set holds."""
        hashes, found = self._index.hashes, np.unique(ngram_hashes(text, DEFAULT_N))
        if not len(hashes):
            return found, np.empty(0, dtype=np.int64)
        places = np.minimum(np.searchsorted(hashes, found), len(hashes) - 1)
        return found, places[hashes[places] == found]


def _audit_task(path: Path, sources: Mapping[str, str], leaks: Sequence[_Leak]) -> dict[str, Any]:
    counters: dict[str, collections.Counter[str]] = {
        name: collections.Counter() for name in ("status", "finish_reason", "flags", "error", "openings")
    }
    numbers = {name: array("d") for name in ("new_tokens", "characters", "source_copy", "sibling")}
    num_changed = num_texts = 0
    rows = _iter_rows(path)
    for document_id, group in itertools.groupby(rows, key=lambda row: row["document_id"]):
        texts: list[str] = []
        for row in group:
            _count_row(row, counters)
            if row["status"] != "ok":
                continue
            text, source = row["text"], sources.get(document_id)
            texts.append(text)
            num_texts += 1
            numbers["new_tokens"].append(row["new_tokens"])
            numbers["characters"].append(len(text))
            counters["openings"][" ".join(words(text[:_OPENING_CHARACTERS])[:_OPENING_WORDS])] += 1
            if source is not None:
                numbers["source_copy"].extend(_contained(text, source, _COPY_N))
                num_changed += changed_language(source, text)
            for leak in leaks:
                leak.mark_synthetic(text)
        for first, second in itertools.pairwise(texts):  # neighbours only: linear in G
            numbers["sibling"].extend(_contained(first, second, _SIBLING_N))
    openings = sorted(counters["openings"].items(), key=lambda item: (-item[1], item[0]))
    high_copies = sum(share > _HIGH_COPY_SHARE for share in numbers["source_copy"])
    return {
        "num_texts": num_texts,
        "status": dict(sorted(counters["status"].items())),
        "finish_reason": dict(sorted(counters["finish_reason"].items())),
        "flags": dict(sorted(counters["flags"].items())),
        "errors": dict(sorted(counters["error"].items())),
        "new_tokens": _summary(numbers["new_tokens"]),
        "characters": _summary(numbers["characters"]),
        "source_copy": _summary(numbers["source_copy"]) | {"share_above_0.8": _share(high_copies, num_texts)},
        "sibling_overlap": _summary(numbers["sibling"]),
        "other_language_share": _share(num_changed, num_texts),
        "top_openings": [
            {"opening": text, "share": _share(count, num_texts)} for text, count in openings[:_NUM_OPENINGS]
        ],
    }


def _count_row(row: Mapping[str, Any], counters: Mapping[str, collections.Counter[str]]) -> None:
    counters["status"][row["status"]] += 1
    for name in ("finish_reason", "error"):
        if row[name] is not None:
            counters[name][row[name]] += 1
    counters["flags"].update(row["flags"])


def _contained(text: str, other: str, n: int) -> Iterable[float]:
    """Share of the text's n-grams that stand in the other, as a list of one; nothing for a text too short."""
    hashes = ngram_hashes(text, n)
    if len(hashes):
        yield float(np.isin(hashes, ngram_hashes(other, n)).mean())


def _summary(values: Sequence[float]) -> dict[str, Any]:
    """Count, mean and three quantiles; only the count when there is nothing."""
    if not values:
        return {"count": 0}
    array = np.asarray(values, dtype=np.float64)
    quantiles = {f"p{round(100 * q)}": float(np.quantile(array, q)) for q in _QUANTILES}
    return {"count": len(values), "mean": float(array.mean()), **quantiles}


def _share(count: int, total: int) -> float | None:
    return count / total if total else None


def _iter_rows(path: Path) -> Iterator[dict[str, Any]]:
    import pyarrow.parquet as pq

    columns = ["document_id", "text", "status", "finish_reason", "flags", "error", "new_tokens"]
    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(batch_size=2048, columns=columns):
            yield from batch.to_pylist()
