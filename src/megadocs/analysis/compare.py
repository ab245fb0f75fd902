"""Two runs side by side: is the one really better than the other, as far as these documents can say.

A single run per side cannot measure seed noise, so the interval covers documents only and a note says so. Runs with
different tokenizers are compared in bits per byte, with a note; runs scored on different documents are refused.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from megadocs.analysis.document_noise import document_noise
from megadocs.analysis.paired import spread_of
from megadocs.analysis.tables import RunFacts, RunScores, ScoreBlock
from megadocs.errors import AnalysisError

_SHOWN_FACTS = (
    "real_documents",
    "real_tokens",
    "synthetic_tokens",
    "train_tokens",
    "num_steps",
    "real_epochs",
    "synthetic_epochs",
    "seconds",
    "num_parameters",
    "final_training_loss",
)


@dataclass(frozen=True, slots=True)
class SetComparison:
    """Two runs on one set in one mode."""

    set_name: str
    mode: str
    unit: Literal["nats per token", "bits per byte"]  # bits where the tokenizers differ
    first: float
    second: float
    difference: float  # second minus first; below 0 the second is better
    #: over documents, the same sources left out of both runs; NaN where there is one source in one piece.
    interval: tuple[float, float]
    share_better: float  # share of documents on which the second run has the lower loss
    num_documents: int


@dataclass(frozen=True, slots=True)
class RunComparison:
    """The comparison of two runs."""

    sets: tuple[SetComparison, ...]  # one row per set and mode that both runs were scored on
    facts: dict[str, tuple[object, object]]  # fact -> (first, second), where they differ
    settings: dict[str, tuple[object, object]]  # setting -> (first, second), where they differ
    notes: tuple[str, ...]  # what the reader has to know


def compare_runs(
    first: Sequence[RunScores],
    second: Sequence[RunScores],
    facts: tuple[RunFacts, RunFacts] | None = None,
    *,
    confidence: float = 0.95,
    groups: Mapping[str, str] | None = None,
) -> RunComparison:
    """Compare two runs on every set and mode that both have.

    Args:
        facts: facts of both, for what differs between them.
        groups: document id -> source, to leave out whole sources.

    Raises:
        AnalysisError: no set in common, or other documents under the same name.
    """
    left = {(scores.set_name, scores.mode): scores for scores in first}
    right = {(scores.set_name, scores.mode): scores for scores in second}
    shared = sorted(set(left) & set(right))
    if not shared:
        raise AnalysisError("the two runs share no evaluation set", remedy="evaluate both on the same sets")
    rows = []
    for key in shared:
        block, unit = _paired_block(left[key], right[key])
        rows.append(_compare_block(block, unit, confidence, groups))
    notes = ["one run on each side: the intervals cover documents, not seeds; another seed may turn a small difference"]
    if any(row.unit == "bits per byte" for row in rows):
        notes.append(
            "the runs count tokens differently (another tokenizer or context length): compared in bits per byte"
        )
    changed = {} if facts is None else _changed(facts)
    settings = {} if facts is None else _changed_settings(facts)
    return RunComparison(tuple(rows), changed, settings, tuple(notes))


def _paired_block(first: RunScores, second: RunScores) -> tuple[ScoreBlock, Literal["nats per token", "bits per byte"]]:
    """The two runs over the same documents; in bits and bytes where their tokens differ."""
    where = f"{first.set_name}/{first.mode}"
    order = {document_id: index for index, document_id in enumerate(second.document_ids)}
    if set(order) != set(first.document_ids):
        raise AnalysisError(
            "the runs were scored on other documents", where=where, remedy="evaluate both on one corpus"
        )
    matched = [order[document_id] for document_id in first.document_ids]
    ids, nll = first.document_ids, np.stack([first.sum_nll, second.sum_nll[matched]])
    runs = (("first", 0), ("second", 0))
    same_tokens = bool(np.array_equal(first.num_tokens, second.num_tokens[matched]))
    if same_tokens:
        block = ScoreBlock(first.set_name, first.mode, ids, first.num_tokens, first.num_bytes, runs, nll, ())
        return block, "nats per token"
    # A ratio per document puts both runs over the same bytes even where their windows cover slightly different ends.
    own_bytes = np.stack([first.num_bytes, second.num_bytes[matched]]).astype(np.float64)
    bits = nll / np.log(2.0) * (first.num_bytes / np.maximum(own_bytes, 1.0))
    block = ScoreBlock(first.set_name, first.mode, ids, first.num_bytes, first.num_bytes, runs, bits, ())
    return block, "bits per byte"


def _compare_block(
    block: ScoreBlock,
    unit: Literal["nats per token", "bits per byte"],
    confidence: float,
    groups: Mapping[str, str] | None,
) -> SetComparison:
    losses, noise = block.losses(), document_noise(block, groups)
    difference = float(losses[1] - losses[0])
    spread = spread_of((noise.variance(np.asarray([-1.0, 1.0])), noise.degrees))
    return SetComparison(
        block.set_name,
        block.mode,
        unit,
        float(losses[0]),
        float(losses[1]),
        difference,
        spread.interval(difference, confidence),
        float((block.sum_nll[1] < block.sum_nll[0]).mean()),
        len(block.document_ids),
    )


def _changed(facts: tuple[RunFacts, RunFacts]) -> dict[str, tuple[object, object]]:
    pairs = {name: (getattr(facts[0], name), getattr(facts[1], name)) for name in _SHOWN_FACTS}
    return {name: values for name, values in pairs.items() if values[0] != values[1]}


def _changed_settings(facts: tuple[RunFacts, RunFacts]) -> dict[str, tuple[object, object]]:
    first, second = ({**run.settings, **run.student} for run in facts)
    pairs = {name: (first.get(name), second.get(name)) for name in sorted(set(first) | set(second))}
    return {name: values for name, values in pairs.items() if values[0] != values[1]}
