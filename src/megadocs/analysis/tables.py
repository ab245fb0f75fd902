"""What the analysis reads: per-document scores of runs, and facts about runs.

Scores come from the evaluation step, one Parquet table per run with the columns `set`, `document_id`, `mode`,
`num_tokens`, `num_bytes`, `sum_nll`. `scores_of_run` turns its columns into `RunScores`; `build_block` lines up the
runs of one (set, mode) into one matrix over the same documents in the same order, which is what pairing needs. A
run whose documents or token counts differ from the others' is never averaged in silently: it is left out and named.

Shapes: R runs, D documents.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from megadocs.errors import AnalysisError

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

#: Nats per token below 0 that rounding can leave of a certain token; below that a loss is damaged.
_ROUNDING = 1e-3
_AGAIN = "delete that evaluation's directory and run again: only this step is repeated"


@dataclass(frozen=True, slots=True)
class RunScores:
    """Scores of one run on one set in one mode."""

    arm: str
    seed: int  # the run's seed; equal seeds pair across arms
    set_name: str  # "validation", "test", or the name of an additional set
    mode: str  # "windowed" (packed as in training, the headline) or "alone" (each document by itself)
    document_ids: tuple[str, ...]  # D distinct ids
    num_tokens: IntArray  # int64 (D,), predicted tokens of each document
    num_bytes: IntArray  # int64 (D,), UTF-8 bytes those tokens stand for
    sum_nll: FloatArray  # float64 (D,), summed negative log-likelihood in nats


@dataclass(frozen=True, slots=True)
class RunFacts:
    """What is known about one run besides its scores. Everything optional is `None` where it was not recorded."""

    arm: str
    seed: int
    real_documents: int  # distinct real documents the run may see
    real_tokens: int  # tokens of those documents: the x-axis of the real-only curve
    synthetic_tokens: int = 0  # tokens of the synthetic stream, 0 for a real-only arm
    train_tokens: int | None = None  # tokens trained on, repeats included
    num_steps: int | None = None
    real_epochs: float | None = None  # actual passes over the real stream
    synthetic_epochs: float | None = None  # actual passes over the synthetic stream
    planned_real_epochs: float | None = None  # passes over the real stream that the recipe asked for
    planned_synthetic_epochs: float | None = None  # passes over the synthetic stream that the recipe implies
    seconds: float | None = None  # wall-clock training time
    num_parameters: int | None = None
    final_training_loss: float | None = None  # nats per token at the last logged step
    record: str | None = None  # path of the run's record, relative to the workspace
    fingerprint: str | None = None
    #: what decides the run: of its training (learning_rate, batch_size ...), its stream and its mixture.
    settings: Mapping[str, Any] = field(default_factory=dict)
    #: shape of the model (hidden_size ...), or what it continues from.
    student: Mapping[str, Any] = field(default_factory=dict)
    flops: float | None = None  # training compute, forward and backward


@dataclass(frozen=True, slots=True)
class ScoreBlock:
    """Runs of one (set, mode) over the same documents."""

    set_name: str
    mode: str
    document_ids: tuple[str, ...]  # D ids, sorted
    num_tokens: IntArray  # int64 (D,), the same for every run
    num_bytes: IntArray  # int64 (D,)
    runs: tuple[tuple[str, int], ...]  # R pairs (arm, seed) in the order of the rows of `sum_nll`
    sum_nll: FloatArray  # float64 (R, D)
    left_out: tuple[tuple[str, int, str], ...]  # runs that do not fit, with the reason

    def losses(self) -> FloatArray:
        """Nats per token of each run, token-weighted over the documents; shape (R,)."""
        return np.asarray(self.sum_nll.sum(axis=1) / self.num_tokens.sum(), dtype=np.float64)

    def bits_per_byte(self) -> FloatArray:
        """Bits per byte of text of each run; comparable across tokenizers; shape (R,)."""
        return np.asarray(self.sum_nll.sum(axis=1) / (self.num_bytes.sum() * np.log(2.0)), dtype=np.float64)


def scores_of_run(arm: str, seed: int, columns: Mapping[str, Sequence[Any]]) -> list[RunScores]:
    """Split one run's score table (columns as the evaluation wrote them) into its sets and modes.

    Args:
        columns: `set`, `document_id`, `mode`, `num_tokens`, `num_bytes`, `sum_nll`, of equal length
            (`pyarrow.Table.to_pydict()` gives this).

    Raises:
        AnalysisError: a column is missing or holds no numbers, a count or a loss is negative, or a document stands
            twice in one set and mode. NaN and infinite losses are kept: the model made them.
    """
    where = f"scores of {arm}, seed {seed}"
    missing = [
        name for name in ("set", "document_id", "mode", "num_tokens", "num_bytes", "sum_nll") if name not in columns
    ]
    if missing:
        raise AnalysisError(f"score columns missing: {', '.join(missing)}", where=where, remedy=_AGAIN)
    keys = list(zip(columns["set"], columns["mode"], strict=True))
    rows_of: dict[tuple[str, str], list[int]] = {}
    for row, key in enumerate(keys):
        rows_of.setdefault((str(key[0]), str(key[1])), []).append(row)
    tables = []
    for (set_name, mode), rows in sorted(rows_of.items()):
        ids = tuple(str(columns["document_id"][row]) for row in rows)
        if len(set(ids)) != len(ids):
            raise AnalysisError(f"a document stands twice in {set_name}/{mode}", where=where, remedy=_AGAIN)
        tokens = _numbers(columns, "num_tokens", rows, where).astype(np.int64)
        num_bytes = _numbers(columns, "num_bytes", rows, where).astype(np.int64)
        nll = _numbers(columns, "sum_nll", rows, where)
        if tokens.min() < 0 or num_bytes.min() < 0 or np.any(nll < -_ROUNDING * np.maximum(tokens, 1)):
            raise AnalysisError(
                f"a negative count or loss in {set_name}/{mode}: no model gives that", where=where, remedy=_AGAIN
            )
        tables.append(RunScores(arm, seed, set_name, mode, ids, tokens, num_bytes, nll))
    return tables


def _numbers(columns: Mapping[str, Sequence[Any]], name: str, rows: Sequence[int], where: str) -> FloatArray:
    """Some rows of a column as float64; counts are exact below 2**53."""
    values = [columns[name][row] for row in rows]
    if any(isinstance(value, bool) or not isinstance(value, int | float) for value in values):
        raise AnalysisError(f"the column {name} holds something that is no number", where=where, remedy=_AGAIN)
    return np.asarray(values, dtype=np.float64)


def build_block(scores: Iterable[RunScores], set_name: str, mode: str) -> ScoreBlock:
    """Line up all runs of one set and mode over the same documents.

    The documents and token counts that most runs share are the reference; a run that differs is left out with a reason
    (another tokenizer, other documents, an evaluation that was cut short).

    Raises:
        AnalysisError: no run has scores for this set and mode, or they hold no tokens.
    """
    tables = [_sorted(table) for table in scores if table.set_name == set_name and table.mode == mode]
    tables.sort(key=lambda table: (table.arm, table.seed))
    if not tables:
        raise AnalysisError(f"no scores for {set_name}/{mode}", remedy="evaluate at least one run on this set")
    shapes = Counter((table.document_ids, table.num_tokens.tobytes()) for table in tables)
    reference = max(shapes, key=lambda shape: (shapes[shape], len(shape[0])))
    kept, left_out = [], []
    for table in tables:
        if (table.document_ids, table.num_tokens.tobytes()) == reference:
            kept.append(table)
        elif table.document_ids != reference[0]:
            left_out.append((table.arm, table.seed, "scored on other documents than the other runs"))
        else:
            left_out.append((table.arm, table.seed, "other token counts: another tokenizer or context length"))
    if kept[0].num_tokens.sum() <= 0:
        raise AnalysisError(f"the scores of {set_name}/{mode} hold no tokens", remedy="use longer documents")
    runs = tuple((table.arm, table.seed) for table in kept)
    if len(set(runs)) != len(runs):
        raise AnalysisError(f"a run stands twice in {set_name}/{mode}", remedy="pass every (arm, seed) once")
    return ScoreBlock(
        set_name,
        mode,
        kept[0].document_ids,
        kept[0].num_tokens,
        kept[0].num_bytes,
        runs,
        np.stack([table.sum_nll for table in kept]),
        tuple(left_out),
    )


def _sorted(table: RunScores) -> RunScores:
    order = sorted(range(len(table.document_ids)), key=table.document_ids.__getitem__)
    if order == list(range(len(order))):
        return table
    ids = tuple(table.document_ids[index] for index in order)
    arrays = (table.num_tokens[order], table.num_bytes[order], table.sum_nll[order])
    return RunScores(table.arm, table.seed, table.set_name, table.mode, ids, *arrays)
