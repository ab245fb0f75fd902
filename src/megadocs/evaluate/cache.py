"""A cache of scores that cannot serve another model's numbers.

    cache = ScoreCache(workspace / "score_cache")
    key = benchmark_key([loaded.identity()], benchmark, add_bos=True)
    results = cache.benchmarks(key, lambda: score_benchmark(members, averages, tokenizer, benchmark, add_bos=True))

An entry is named by the hash of its key and holds the whole key: weights, tokenizer, data, harness, settings.
It is served only when the stored key equals the one asked for and its content has the stored digest; otherwise the
scores are computed again and the entry replaced. NaN stays NaN.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from megadocs.evaluate.benchmarks.score import BenchmarkScores
from megadocs.evaluate.benchmarks.tasks import Benchmark
from megadocs.evaluate.ensembles import EnsembleScores
from megadocs.evaluate.evaluation_set import EvaluationSet
from megadocs.evaluate.scores import DocumentScores
from megadocs.evaluate.target_losses import Average
from megadocs.recipe import canonical_json, fingerprint
from megadocs.store.files import make_directory, write_bytes_atomic

_LOG = logging.getLogger(__name__)

Key = Mapping[str, Any]
#: Goes up when the same inputs would give other scores than before.
SCORING_VERSION = 1


def documents_key(
    models: Sequence[Mapping[str, str]], data: EvaluationSet, mode: str, **settings: Any
) -> dict[str, Any]:
    """Key of document scores: the members' identities in order, the set's content, and every setting that matters.

    `settings` are the arguments of the scoring function (context_length, stride, order, start_id, subsets); the batch
    size is left out, as it changes nothing beyond rounding.
    """
    return {
        "what": "documents",
        "version": SCORING_VERSION,
        "models": [dict(model) for model in models],
        "set": data.name,
        "data": data.digest,
        "mode": mode,
        "settings": settings,
    }


def benchmark_key(
    models: Sequence[Mapping[str, str]], benchmark: Benchmark, *, add_bos: bool, **settings: Any
) -> dict[str, Any]:
    """Key of benchmark scores: identities, what identifies the benchmark, whether a BOS stands before prompts."""
    return {
        "what": "benchmark",
        "version": SCORING_VERSION,
        "models": [dict(model) for model in models],
        "benchmark": benchmark.identity(),
        "add_bos": add_bos,
        "settings": settings,
    }


class ScoreCache:
    """Entries in one directory, one file each: a line of JSON (key and digest), then the scores as JSON."""

    def __init__(self, directory: str | Path) -> None:
        self.directory = Path(directory)

    def documents(self, key: Key, compute: Callable[[], list[EnsembleScores]]) -> list[EnsembleScores]:
        """The scores under `key`, computed when they are not there. For one model: `EnsembleScores(SINGLE, scores)`."""
        return [_to_documents(line) for line in self._serve(key, lambda: [_from_documents(r) for r in compute()])]

    def benchmarks(self, key: Key, compute: Callable[[], list[BenchmarkScores]]) -> list[BenchmarkScores]:
        """The scores under `key`, computed when they are not there."""
        found = self._serve(key, lambda: [result.to_json() for result in compute()])
        return [BenchmarkScores.from_json(line) for line in found]

    def _serve(self, key: Key, compute: Callable[[], list[dict[str, Any]]]) -> list[dict[str, Any]]:
        path = self.directory / f"{fingerprint(key)}.json"
        found = self._read(path, key)
        if found is not None:
            return found
        values = compute()
        payload = json.dumps(values, separators=(",", ":")).encode("utf-8")  # NaN is written as NaN
        head = canonical_json({"key": key, "sha256": hashlib.sha256(payload).hexdigest()}).encode("utf-8")
        make_directory(self.directory)
        write_bytes_atomic(path, head + b"\n" + payload)
        return values

    def _read(self, path: Path, key: Key) -> list[dict[str, Any]] | None:
        """The values, or None when the entry is absent, damaged, or stands under another key."""
        if not path.is_file():
            return None
        head, _, payload = path.read_bytes().partition(b"\n")
        try:
            stored = json.loads(head)
        except ValueError:
            stored = None
        expected = {"key": json.loads(canonical_json(key)), "sha256": hashlib.sha256(payload).hexdigest()}
        if stored != expected:
            _LOG.warning("the cached scores in %s are damaged or another model's: computing them again", path)
            return None
        values: list[dict[str, Any]] = json.loads(payload)
        return values


def _from_documents(result: EnsembleScores) -> dict[str, Any]:
    scores = result.scores
    return {
        "average": [list(result.average.members), result.average.kind],
        "set": scores.set,
        "mode": scores.mode,
        "document_ids": list(scores.document_ids),
        "num_tokens": scores.num_tokens.tolist(),
        "num_bytes": scores.num_bytes.tolist(),
        "sum_nll": scores.sum_nll.tolist(),
        "num_dropped_tokens": scores.num_dropped_tokens,
    }


def _to_documents(line: dict[str, Any]) -> EnsembleScores:
    members, kind = line["average"]
    scores = DocumentScores(
        set=line["set"],
        mode=line["mode"],
        document_ids=line["document_ids"],
        num_tokens=np.array(line["num_tokens"], dtype=np.int64),
        num_bytes=np.array(line["num_bytes"], dtype=np.int64),
        sum_nll=np.array(line["sum_nll"], dtype=np.float64),
        num_dropped_tokens=line["num_dropped_tokens"],
    )
    return EnsembleScores(Average(tuple(members), kind), scores)
