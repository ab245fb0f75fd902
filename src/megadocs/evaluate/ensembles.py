"""Ensembles: K models scored jointly in one pass, averaged in two ways, at every size 1..K.

    results = score_ensemble_windows(members, test, context_length=256)
    for row in losses_by_size(results):
        row.kind, row.num_members, row.nats_per_token

**Logit average** (the paper): the mean of the members' logits, then one softmax. **Probability average**: the mean of
their probabilities. For identical members both are the member itself.

**Which subsets.** `prefixes` (default) takes the first k members, k = 1..K: members are exchangeable, so this is an
unbiased picture of size k, it nests as the paper's curve does, and it costs one addition and one softmax a size.
`all` takes each of the 2^K - 1 subsets, for a mean and a spread at every size; probability averages come from the
members' target probabilities alone, logit averages need a softmax each.

A batch runs through one member's body after the other and their heads meet in chunks of positions, so memory holds K
hidden states of one batch whatever the set's size.
"""

from __future__ import annotations

import io
import itertools
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from megadocs.errors import InputError
from megadocs.evaluate.document_losses import collect_scores, iter_alone_losses, iter_window_losses
from megadocs.evaluate.evaluation_set import EvaluationSet
from megadocs.evaluate.scores import DocumentScores
from megadocs.evaluate.scoring_model import ScoringModel
from megadocs.evaluate.target_losses import Average
from megadocs.store.files import write_bytes_atomic

Subsets = Literal["prefixes", "all"]
_MAX_MEMBERS_ALL = 8
_ENSEMBLE_COLUMNS = ("set", "mode", "average", "members", "document_id", "num_tokens", "num_bytes", "sum_nll")


@dataclass(frozen=True, slots=True)
class EnsembleScores:
    """The scores of one average over some members."""

    average: Average
    scores: DocumentScores


@dataclass(frozen=True, slots=True)
class SizeLoss:
    """The loss at one size, over the subsets of that size that were scored."""

    kind: Literal["logits", "probabilities"]
    num_members: int  # k
    num_subsets: int  # how many subsets the mean is over
    nats_per_token: float  # mean over the subsets
    #: between the subsets; None with fewer than two. Subsets share members: it is no error bar.
    standard_deviation: float | None


def build_averages(num_members: int, subsets: Subsets = "prefixes") -> list[Average]:
    """Both kinds of average for every size 1..K, by size, then kind, then members.

    Raises:
        InputError: no members, or `all` with more than eight (255 logit averages).
    """
    if num_members < 1:
        raise InputError("an ensemble has at least one member", remedy="name its members")
    if subsets == "all" and num_members > _MAX_MEMBERS_ALL:
        raise InputError(
            f"{2**num_members - 1} subsets of {num_members} members",
            remedy=f"use prefixes, or at most {_MAX_MEMBERS_ALL} members",
        )
    averages = []
    for size in range(1, num_members + 1):
        chosen = [tuple(range(size))] if subsets == "prefixes" else itertools.combinations(range(num_members), size)
        members_of_size = list(chosen)
        averages += [Average(members, "logits") for members in members_of_size]
        averages += [Average(members, "probabilities") for members in members_of_size]
    return averages


def score_ensemble_windows(
    members: Sequence[ScoringModel],
    data: EvaluationSet,
    *,
    context_length: int,
    batch_size: int = 32,
    subsets: Subsets = "prefixes",
    order: Literal["hash", "given"] = "hash",
) -> list[EnsembleScores]:
    """Joint scores of every average of `build_averages`, windowed as in training (see `score_windows`)."""
    averages, data = build_averages(len(members), subsets), data.ordered(order)
    batches = iter_window_losses(members, averages, data, context_length=context_length, batch_size=batch_size)
    dropped = data.num_tokens % context_length
    scores = collect_scores(data, "windowed", batches, len(averages), num_dropped_tokens=dropped)
    return [EnsembleScores(*pair) for pair in zip(averages, scores, strict=True)]


def score_ensemble_documents(
    members: Sequence[ScoringModel],
    data: EvaluationSet,
    *,
    context_length: int,
    stride: int | None = None,
    batch_size: int = 32,
    start_id: int | None = None,
    subsets: Subsets = "prefixes",
) -> list[EnsembleScores]:
    """Joint scores of every average of `build_averages`, each document alone (see `score_documents`)."""
    averages, data = build_averages(len(members), subsets), data.ordered()
    batches = iter_alone_losses(
        members, averages, data, context_length=context_length, stride=stride, batch_size=batch_size, start_id=start_id
    )
    scores = collect_scores(data, "alone", batches, len(averages), has_start=start_id is not None)
    return [EnsembleScores(*pair) for pair in zip(averages, scores, strict=True)]


def losses_by_size(results: Sequence[EnsembleScores]) -> list[SizeLoss]:
    """The curve: mean loss of each kind at each size, by kind, then size."""
    groups: dict[tuple[Literal["logits", "probabilities"], int], list[float]] = {}
    for result in results:
        key = (result.average.kind, len(result.average.members))
        groups.setdefault(key, []).append(result.scores.nats_per_token)
    return [
        SizeLoss(
            kind, size, len(losses), statistics.fmean(losses), statistics.stdev(losses) if len(losses) > 1 else None
        )
        for (kind, size), losses in sorted(groups.items())
    ]


def write_ensemble_scores(path: str | Path, results: Sequence[EnsembleScores]) -> None:
    """Write every average's documents into one Parquet file: the columns of `write_scores`, `average` and `members`.

    Sorted by set, mode, average, members and document: the bytes depend on the content only.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    ordered = sorted(results, key=lambda r: (r.scores.set, r.scores.mode, r.average.kind, r.average.members))
    columns: dict[str, list[object]] = {name: [] for name in _ENSEMBLE_COLUMNS}
    for result in ordered:
        scores = result.scores
        lines = sorted(
            zip(
                scores.document_ids,
                scores.num_tokens.tolist(),
                scores.num_bytes.tolist(),
                scores.sum_nll.tolist(),
                strict=True,
            )
        )
        same = (scores.set, scores.mode, result.average.kind, list(result.average.members))
        for values in ((*same, *line) for line in lines):
            for column, value in zip(columns.values(), values, strict=True):
                column.append(value)
    types = {
        "num_tokens": pa.int64(),
        "num_bytes": pa.int64(),
        "sum_nll": pa.float64(),
        "members": pa.list_(pa.int32()),
    }
    schema = pa.schema([(name, types.get(name, pa.string())) for name in _ENSEMBLE_COLUMNS])
    buffer = io.BytesIO()
    pq.write_table(pa.table(columns, schema=schema), buffer, compression="zstd")
    write_bytes_atomic(path, buffer.getvalue())
