"""Losses per document: windowed exactly as in training, and per document.

    scores = score_windows(model, validation, context_length=256)          # the headline
    single = score_documents(model, validation, context_length=256)        # every document from its own BOS
    scores.nats_per_token, single.bits_per_byte

**Windowed.** Rows are concatenated, cut into windows of `context_length` tokens, the tail is dropped and counted.
T tokens give T-1 targets, separators included; a target belongs to the document that holds it (docs/ordering.md). A set
shorter than one window cannot be scored this way. A model that was trained with an attention boundary is scored with it
(`windowed`), and across it for comparison (`windowed_across`).

**Per document** (`alone`). A document starts at its BOS and every token after the first is predicted exactly once. Past
the context length the window slides by `stride` tokens: each predicted token then sees `context_length - stride` or
more before it.

Results are float32 losses added up in float64. They do not depend on the batch size beyond rounding: a document's mean
moves by less than 1e-5 nats in float32 and 0.02 in bfloat16 (tests/evaluate/test_document_losses.py holds both).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from megadocs.errors import InputError
from megadocs.evaluate.evaluation_set import EvaluationSet
from megadocs.evaluate.scores import DocumentScores, Mode
from megadocs.evaluate.scoring_model import ScoringModel
from megadocs.evaluate.target_losses import SINGLE, Average, check_members, target_losses
from megadocs.model.memory import freed_memory_kept

Int64Array = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class TargetLosses:
    """Losses of N targets of one batch, under A averages."""

    document: Int64Array  # int64 (N,), index of the document that holds the target
    position: Int64Array  # int64 (N,), the target's place in its document's row (0 is the row's first token)
    context: Int64Array  # int64 (N,), tokens before it in its window
    nll: npt.NDArray[np.float32]  # float32 (A, N), nats


def score_windows(
    model: ScoringModel,
    data: EvaluationSet,
    *,
    context_length: int,
    batch_size: int = 32,
    order: Literal["hash", "given"] = "hash",
) -> DocumentScores:
    """Losses per document, windowed as in training.

    Args:
        order: `hash` (the same windows however the set is listed) or `given`.

    Raises:
        InputError: fewer tokens than one window, a document of fewer than two tokens, foreign token ids.
    """
    data = data.ordered(order)
    batches = iter_window_losses([model], [SINGLE], data, context_length=context_length, batch_size=batch_size)
    return collect_scores(data, "windowed", batches, 1, num_dropped_tokens=data.num_tokens % context_length)[0]


def score_documents(
    model: ScoringModel,
    data: EvaluationSet,
    *,
    context_length: int,
    stride: int | None = None,
    batch_size: int = 32,
    start_id: int | None = None,
) -> DocumentScores:
    """Losses per document, each from its own start.

    Args:
        context_length: most tokens of a window.
        stride: new tokens per slide past the context length; None: half of it.
        batch_size: a forward pass holds at most this many full windows' worth of tokens.
        start_id: put before every row: for tokenizers whose rows have no BOS, the EOS that stands before a document in
            training; None: rows bring their BOS.
    """
    data = data.ordered()
    batches = iter_alone_losses(
        [model], [SINGLE], data, context_length=context_length, stride=stride, batch_size=batch_size, start_id=start_id
    )
    return collect_scores(data, "alone", batches, 1, has_start=start_id is not None)[0]


def iter_window_losses(
    models: Sequence[ScoringModel],
    averages: Sequence[Average],
    data: EvaluationSet,
    *,
    context_length: int,
    batch_size: int = 32,
    boundary: bool = False,
) -> Iterator[TargetLosses]:
    """Batches of target losses, windowed as in training; documents in the order of `data`.

    With `boundary` attention stays inside each document, as in arms that train with `attention_boundary`.
    """
    _check(models, averages, data, context_length, batch_size)
    ends = np.cumsum([len(row) for row in data.rows], dtype=np.int64)
    num_windows = int(ends[-1]) // context_length
    if num_windows == 0:
        raise InputError(
            f"{int(ends[-1])} tokens do not fill one window of {context_length}",
            where=data.name,
            remedy="add documents, or score each document alone",
        )
    context = np.arange(1, context_length, dtype=np.int64)
    with freed_memory_kept():
        for first in range(0, num_windows, batch_size):
            size = min(batch_size, num_windows - first)
            start, stop = first * context_length, (first + size) * context_length
            tokens_BT = _stream_tokens(data, ends, start, stop).reshape(size, context_length)
            wanted_BT = np.ones_like(tokens_BT, dtype=np.bool_)
            wanted_BT[:, 0] = False
            document_BT = np.searchsorted(ends, np.arange(start, stop, dtype=np.int64), side="right").reshape(size, -1)
            segments_BT = document_BT if boundary else None
            nll_AN = target_losses(models, averages, tokens_BT, wanted_BT, segments_BT)
            places = np.arange(start, stop, dtype=np.int64).reshape(size, context_length)[:, 1:].reshape(-1)
            document = document_BT[:, 1:].reshape(-1)
            position = places - np.concatenate(([0], ends))[document]
            yield TargetLosses(document, position, np.tile(context, size), nll_AN)


def iter_alone_losses(
    models: Sequence[ScoringModel],
    averages: Sequence[Average],
    data: EvaluationSet,
    *,
    context_length: int,
    stride: int | None = None,
    batch_size: int = 32,
    start_id: int | None = None,
    boundary: bool = False,
) -> Iterator[TargetLosses]:
    """Batches of target losses, each document from its own start. Windows of like length share a forward pass.

    With `boundary` a start token, which is the end of what came before, is seen by the first token alone.
    """
    _check(models, averages, data, context_length, batch_size)
    stride = max(1, context_length // 2) if stride is None else stride
    if not 1 <= stride < context_length:
        raise InputError(
            f"stride {stride} with a context of {context_length}",
            where="evaluate.stride",
            remedy="1 <= stride < context",
        )
    lead = 0 if start_id is None else 1
    spans = _alone_spans([len(row) + lead for row in data.rows], context_length, stride)
    with freed_memory_kept():
        for batch in _batches_by_length(spans, batch_size * context_length):
            width = int((batch[:, 2] - batch[:, 1]).max())
            tokens_BT = np.zeros((len(batch), width), dtype=np.int64)
            wanted_BT = np.zeros((len(batch), width), dtype=np.bool_)
            for line, (document, start, stop, scored_from) in enumerate(batch.tolist()):
                first = max(start - lead, 0)
                tokens_BT[line, first + lead - start : stop - start] = data.rows[document][first : stop - lead]
                if start_id is not None and start == 0:
                    tokens_BT[line, 0] = start_id
                wanted_BT[line, scored_from - start : stop - start] = True
            segments_BT = None
            if boundary and lead:
                segments_BT = np.ones_like(tokens_BT)
                segments_BT[batch[:, 1] == 0, 0] = 0
            nll_AN = target_losses(models, averages, tokens_BT, wanted_BT, segments_BT)
            lines, context = np.nonzero(wanted_BT)
            yield TargetLosses(batch[lines, 0], batch[lines, 1] + context - lead, context, nll_AN)


class ScoreCollector:
    """Adds target losses up per document, batch by batch, in float64.

    Args:
        data: the documents, in the order that the batches count them in.
        mode: `windowed` or `alone`.
        num_averages: A.
        has_start: a start token stood before the rows (`start_id`).
    """

    def __init__(self, data: EvaluationSet, mode: Mode, num_averages: int, *, has_start: bool = False) -> None:
        self._data, self._mode, self._has_start = data, mode, has_start
        self._num_tokens = np.zeros(len(data), dtype=np.int64)
        self._sum_nll = np.zeros((num_averages, len(data)), dtype=np.float64)

    def add(self, batch: TargetLosses) -> None:
        """Take in one batch."""
        self._num_tokens += np.bincount(batch.document, minlength=len(self._data))
        for total, nll in zip(self._sum_nll, batch.nll, strict=True):
            total += np.bincount(batch.document, weights=nll, minlength=len(self._data))

    def scores(self, *, name: str | None = None, num_dropped_tokens: int = 0) -> list[DocumentScores]:
        """One `DocumentScores` per average, under the set's name or another.

        A document of which not every target is there (tail, windows' starts, `positions.past_only`) counts that share
        of its bytes.
        """
        data, num_tokens = self._data, self._num_tokens
        has_first = self._mode != "alone" or self._has_start
        targets = np.array([len(row) for row in data.rows], dtype=np.int64) - (not has_first)
        share = 2 * np.asarray(data.num_bytes, dtype=np.int64) * num_tokens + targets
        num_bytes = share // (2 * targets)  # rounded
        return [
            DocumentScores(
                name or data.name, self._mode, data.document_ids, num_tokens, num_bytes, total, num_dropped_tokens
            )
            for total in self._sum_nll
        ]


def collect_scores(
    data: EvaluationSet,
    mode: Mode,
    batches: Iterable[TargetLosses],
    num_averages: int,
    *,
    num_dropped_tokens: int = 0,
    has_start: bool = False,
) -> list[DocumentScores]:
    """The scores of all batches, one `DocumentScores` per average (see `ScoreCollector`)."""
    collector = ScoreCollector(data, mode, num_averages, has_start=has_start)
    for batch in batches:
        collector.add(batch)
    return collector.scores(num_dropped_tokens=num_dropped_tokens)


def _check(
    models: Sequence[ScoringModel],
    averages: Sequence[Average],
    data: EvaluationSet,
    context_length: int,
    batch_size: int,
) -> None:
    check_members(models, averages)
    if context_length < 2 or batch_size < 1:
        raise InputError(
            f"context_length {context_length}, batch_size {batch_size}",
            remedy="a window has two tokens, a batch one window",
        )
    limit = min((model.max_context for model in models if model.max_context is not None), default=context_length)
    if context_length > limit:
        raise InputError(
            f"the model takes {limit} tokens, not {context_length}", remedy=f"use context_length <= {limit}"
        )
    data.check(models[0].vocab_size)


def _stream_tokens(data: EvaluationSet, ends: Int64Array, start: int, stop: int) -> Int64Array:
    """Tokens [start, stop) of the concatenated rows; only the rows that overlap are touched."""
    tokens = np.empty(stop - start, dtype=np.int64)
    document = int(np.searchsorted(ends, start, side="right"))
    filled = 0
    while filled < len(tokens):
        row = data.rows[document]
        offset = start + filled - (int(ends[document]) - len(row))
        part = row[offset : offset + len(tokens) - filled]
        tokens[filled : filled + len(part)] = part
        filled += len(part)
        document += 1
    return tokens


def _alone_spans(lengths: Sequence[int], context_length: int, stride: int) -> Int64Array:
    """Windows as lines (document, start, stop, scored_from): each position from 1 on is scored in exactly one."""
    spans = []
    for document, length in enumerate(lengths):
        stop = min(length, context_length)
        spans.append((document, 0, stop, 1))
        while stop < length:
            scored_from, stop = stop, min(length, stop + stride)
            spans.append((document, stop - context_length, stop, scored_from))
    return np.array(spans, dtype=np.int64)


def _batches_by_length(spans: Int64Array, max_tokens: int) -> Iterator[Int64Array]:
    """Spans in batches of like length, longest first, none above `max_tokens` with its padding."""
    widths = spans[:, 2] - spans[:, 1]
    order = np.argsort(-widths, kind="stable")
    start = 0
    while start < len(order):
        size = max(1, max_tokens // int(widths[order[start]]))
        yield spans[order[start : start + size]]
        start += size
