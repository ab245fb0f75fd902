"""Zero-shot scores of a benchmark: `acc`, `acc_norm`, their standard errors, and every item's log-likelihoods.

    data = load_benchmark("piqa")
    result = score_benchmark(model, PromptEncoder(tokenizer), data)
    result.accuracy, result.standard_error

`acc`: the choice with the largest log-likelihood is right. `acc_norm`: after dividing by the choice's length in
characters. Ties go to the first choice. Standard error of a mean over n items: s / sqrt(n), s with n - 1.
"""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from megadocs.errors import InputError
from megadocs.evaluate.benchmarks.data import BenchmarkData
from megadocs.evaluate.benchmarks.likelihoods import score_pairs
from megadocs.evaluate.benchmarks.prompts import PromptEncoder
from megadocs.evaluate.scoring_model import ScoringModel
from megadocs.evaluate.target_losses import SINGLE, Average
from megadocs.store.files import write_bytes_atomic


@dataclass(frozen=True, slots=True)
class BenchmarkScores:
    """What a model, or an average of models, chose on each of N items.

    Attributes:
        task: benchmark's name.
        split: `test`, `validation` or `local`.
        average: which members, and how they were averaged.
        item_ids: N ids.
        gold: int64 (N,), the right choices.
        log_likelihoods: N arrays, one log-likelihood per choice, nats.
        lengths: N arrays, characters per choice.
        num_truncated: requests longer than the model's context.
    """

    task: str
    split: str
    average: Average
    item_ids: Sequence[str]
    gold: npt.NDArray[np.int64]
    log_likelihoods: Sequence[npt.NDArray[np.float64]]
    lengths: Sequence[npt.NDArray[np.int64]]
    num_truncated: int = 0

    @property
    def choices(self) -> npt.NDArray[np.int64]:
        """Predicted choice of each item by log-likelihood."""
        return np.array([np.argmax(line) for line in self.log_likelihoods], dtype=np.int64)

    @property
    def choices_norm(self) -> npt.NDArray[np.int64]:
        """Predicted choice of each item by log-likelihood per character."""
        pairs = zip(self.log_likelihoods, self.lengths, strict=True)
        return np.array([np.argmax(line / lengths) for line, lengths in pairs], dtype=np.int64)

    @property
    def accuracy(self) -> float:
        """`acc`; NaN when a log-likelihood is NaN (an argmax over NaN would look like an answer)."""
        return self._mean(self.choices)

    @property
    def accuracy_norm(self) -> float:
        """`acc_norm`."""
        return self._mean(self.choices_norm)

    @property
    def standard_error(self) -> float | None:
        """Of `acc` over the items; None with a single item."""
        return self._standard_error(self.accuracy)

    @property
    def standard_error_norm(self) -> float | None:
        """Of `acc_norm`."""
        return self._standard_error(self.accuracy_norm)

    def summary(self) -> dict[str, Any]:
        """The result as JSON-ready values; a metric that is not a number is None."""
        values = {
            "acc": self.accuracy,
            "acc_stderr": self.standard_error,
            "acc_norm": self.accuracy_norm,
            "acc_norm_stderr": self.standard_error_norm,
        }
        return {
            "task": self.task,
            "split": self.split,
            "num_items": len(self.item_ids),
            "num_truncated": self.num_truncated,
            "average": {"kind": self.average.kind, "members": list(self.average.members)},
            **{key: None if value is None or math.isnan(value) else value for key, value in values.items()},
        }

    def _mean(self, choices: npt.NDArray[np.int64]) -> float:
        if any(np.isnan(line).any() for line in self.log_likelihoods):
            return math.nan
        return float(np.mean(choices == self.gold))

    def _standard_error(self, mean: float) -> float | None:
        n = len(self.item_ids)
        return math.sqrt(mean * (1 - mean) / (n - 1)) if n > 1 else None


def score_benchmark(
    model: ScoringModel, encoder: PromptEncoder, data: BenchmarkData, *, batch_tokens: int = 2048
) -> BenchmarkScores:
    """Zero-shot scores of one model."""
    return score_benchmark_ensemble([model], [SINGLE], encoder, data, batch_tokens=batch_tokens)[0]


def score_benchmark_ensemble(
    members: Sequence[ScoringModel],
    averages: Sequence[Average],
    encoder: PromptEncoder,
    data: BenchmarkData,
    *,
    batch_tokens: int = 2048,
) -> list[BenchmarkScores]:
    """Zero-shot scores of each average over the members (see `ensembles.build_averages`), in one pass."""
    items = data.items
    if not items:
        raise InputError("the benchmark has no items", where=data.task.name, remedy="score at least one")
    contexts = [context for item in items for context in item.contexts]
    continuations = [continuation for item in items for continuation in item.continuations]
    pairs = encoder.encode_pairs(contexts, continuations)
    result = score_pairs(members, averages, pairs, batch_tokens=batch_tokens)
    cuts = np.cumsum([len(item.continuations) for item in items])[:-1]
    return [
        BenchmarkScores(
            task=data.task.name,
            split=data.split,
            average=average,
            item_ids=[item.id for item in items],
            gold=np.array([item.gold for item in items], dtype=np.int64),
            log_likelihoods=np.split(line, cuts),
            lengths=[np.array(item.lengths, dtype=np.int64) for item in items],
            num_truncated=result.num_truncated,
        )
        for average, line in zip(averages, result.log_likelihoods, strict=True)
    ]


def mean_accuracy(results: Sequence[BenchmarkScores]) -> tuple[float, float | None]:
    """Mean `acc` and its standard error, benchmarks weighing the same (the paper's downstream number is 1 minus it)."""
    if not results:
        raise InputError("no benchmark was scored", where="evaluate.benchmarks", remedy="name at least one")
    errors = [result.standard_error for result in results]
    known = [error for error in errors if error is not None]
    error = math.sqrt(sum(e * e for e in known)) / len(results) if len(known) == len(results) else None
    return math.fsum(result.accuracy for result in results) / len(results), error


def write_items(path: str | Path, results: Sequence[BenchmarkScores]) -> None:
    """Write every item of every result into one Parquet file, one line each, choices' log-likelihoods included."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    lines = [
        {
            "task": result.task,
            "split": result.split,
            "average": result.average.kind,
            "members": list(result.average.members),
            "item_id": item_id,
            "gold": int(gold),
            "log_likelihoods": values.tolist(),
            "lengths": lengths.tolist(),
        }
        for result in results
        for item_id, gold, values, lengths in zip(
            result.item_ids, result.gold, result.log_likelihoods, result.lengths, strict=True
        )
    ]
    schema = pa.schema(
        [
            ("task", pa.string()),
            ("split", pa.string()),
            ("average", pa.string()),
            ("members", pa.list_(pa.int32())),
            ("item_id", pa.string()),
            ("gold", pa.int32()),
            ("log_likelihoods", pa.list_(pa.float64())),
            ("lengths", pa.list_(pa.int32())),
        ]
    )
    buffer = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(lines, schema=schema), buffer, compression="zstd")
    write_bytes_atomic(path, buffer.getvalue())
