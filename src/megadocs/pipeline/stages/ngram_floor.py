"""The n-gram floor of a report: counted on 1x real rows, then with synthetic rows added; scored like the headline."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from megadocs.corpus import SplitCorpus
from megadocs.evaluate.evaluation_set import build_evaluation_set
from megadocs.evaluate.ngram_model import MAX_ORDER, MAX_VOCAB_SIZE, NgramModel, mean_window_loss
from megadocs.kinds import REAL, orderings_of_role, row_kind
from megadocs.pipeline.stages.arm_data import open_row_artifacts
from megadocs.pipeline.stages.run_records import FinishedRun
from megadocs.rows import RowStore
from megadocs.store.artifact import Artifact, Workspace
from megadocs.text.tokenizer import Tokenizer

IntArray = npt.NDArray[np.int64]

#: Tokens of one kind of text that are counted at most.
MAX_TOKENS = 20_000_000


def ngram_floor(
    results: Mapping[str, Any],
    runs: Mapping[str, FinishedRun],
    inputs: Mapping[str, Artifact],
    corpus: SplitCorpus,
    tokenizer: Tokenizer,
    workspace: Workspace,
) -> dict[str, Any] | None:
    """Losses of n-gram models on the headline's targets; None where they cannot be compared with a trained model's.

    Args:
        results: of the analysis: the headline, the baseline.
        runs: finished runs; the baseline's decide the windows.
        inputs: of the report; the roles `rows <run> <role>` are read.
        corpus: for the 1x documents and those of the headline's set.

    Returns:
        `order`, `set`, `num_targets`, and a list `models`: `text` ("real", or the kind of synthetic rows added to it),
        `num_tokens`, `num_all_tokens` (more where the count was cut), `loss`.
    """
    baseline = next((run for run in runs.values() if run.arm == results["baseline"]), None)
    headline = results["headline"]
    documents = {"test": corpus.test, "validation": corpus.validation}.get(headline["set"])
    there = {artifact.fingerprint: artifact for role, artifact in inputs.items() if role.startswith("rows ")}
    if baseline is None or documents is None or headline["mode"] != "windowed" or not there:
        return None
    rows = open_row_artifacts(there, workspace)
    if rows.vocab_size > MAX_VOCAB_SIZE:
        return None
    held_out = np.concatenate(build_evaluation_set(headline["set"], documents, tokenizer).ordered().rows)
    context_length = baseline.train.record["config"]["train"]["context_length"]
    if len(held_out) < context_length:
        return None
    known = {document.id for document in corpus.train_multiple(1)}
    real, num_real = _tokens(rows, REAL, known)
    models, num_targets = [], 0
    for kind in (REAL, *_method_kinds(rows)):
        added, num_added = (real[:0], 0) if kind == REAL else _tokens(rows, kind)
        tokens = np.concatenate([real, added])
        loss, num_targets = mean_window_loss(NgramModel.fit(tokens, rows.vocab_size), held_out, context_length)
        models.append({"text": kind, "num_tokens": len(tokens), "num_all_tokens": num_real + num_added, "loss": loss})
    return {"order": MAX_ORDER, "set": headline["set"], "num_targets": num_targets, "models": models}


def _method_kinds(rows: RowStore) -> list[str]:
    """Kinds of synthetic rows that are there and that a method's ordering takes: no control's."""
    wanted = dict.fromkeys(kind for spec in orderings_of_role("method") for kind in spec.kinds if kind != REAL)
    codes = set(np.unique(rows.table.kind).tolist())
    return [kind for kind in wanted if row_kind(kind).code in codes]


def _tokens(rows: RowStore, kind: str, documents: Collection[str] | None = None) -> tuple[IntArray, int]:
    """The rows of a kind one after the other, in the order of their keys up to `MAX_TOKENS`; and how many there are.

    Of stretched rows, which stand there once for each number of generations, only the ones with most of them.
    """
    table = rows.table
    chosen = table.kind == row_kind(kind).code
    if row_kind(kind).is_stretched:
        chosen &= table.generation == table.generation[chosen].max()
    if documents is not None:
        chosen &= np.array([name in documents for name in table.document_ids], dtype=bool)[table.document_index]
    order = np.flatnonzero(chosen)
    order = order[np.argsort(table.row_key[order], kind="stable")]
    ends = np.cumsum(table.num_tokens[order], dtype=np.int64)
    order_kept = order[: int(np.searchsorted(ends, MAX_TOKENS, side="right"))]
    parts = [
        rows.tokens[segment][start : start + count].astype(np.int64)
        for segment, start, count in zip(
            table.segment[order_kept], table.start[order_kept], table.num_tokens[order_kept], strict=True
        )
    ]
    empty = np.empty(0, dtype=np.int64)
    return np.concatenate([empty, *parts]), int(ends[-1]) if len(ends) else 0
