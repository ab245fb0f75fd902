"""Measure whether a trained student uses its context, on documents that it was not trained on."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from megadocs.corpus import read_corpus
from megadocs.documents import Document
from megadocs.errors import InputError
from megadocs.pipeline.stages.stage import StageContext
from megadocs.rows.generations import iter_generations
from megadocs.store.artifact import Artifact
from megadocs.text.tokenizer import Tokenizer

if TYPE_CHECKING:
    from megadocs.evaluate.context_use import ContextCase, ContextGains

#: Documents that the copy gain, and the sibling gain of training documents, are measured on.
_NUM_DOCUMENTS = 64


def run(context: StageContext) -> None:
    """Make the gate artifact: nothing but its summary."""
    from megadocs.evaluate.context_use import ContextCase, context_gains, late_minus_early, repeat_score
    from megadocs.evaluate.evaluation_set import build_evaluation_set
    from megadocs.pipeline.stages.scorer import load_trained
    from megadocs.text.tokenizer import load_tokenizer

    model = load_trained(context.inputs["train"])
    tokenizer = load_tokenizer(str(context.inputs["tokenizer"].path))
    corpus = read_corpus(context.inputs["corpus"].path)
    length = context.config["context_length"]
    validation = build_evaluation_set("validation", corpus.validation, tokenizer)
    rows = validation.ordered().rows[:_NUM_DOCUMENTS]
    halves = [row[: length // 2] for row in rows]
    cases = [
        ContextCase(str(number), row, [row], [halves[(number + 1) % len(halves)]]) for number, row in enumerate(halves)
    ]
    summary = context.build.summary
    summary["copy_gain"] = _told(context_gains(model, cases, length))
    summary["repeat_score"] = repeat_score(model, np.concatenate(rows), length)
    summary["late_minus_early"] = late_minus_early(model, validation, length)
    if "probe" in context.inputs:
        siblings = probe_cases(corpus.probe, context.inputs["probe"], tokenizer, length)
        summary["sibling_gain"] = _told(context_gains(model, siblings, length))
    elif "seen" in context.inputs:
        known = corpus.train_multiple(1)[:_NUM_DOCUMENTS]
        try:
            siblings = probe_cases(known, context.inputs["seen"], tokenizer, length)
        except InputError as error:  # nobody asked for this one: a context too short for it is no failure of the run
            context.report({"note": f"no sibling gain: {error.what}"})
        else:
            summary["seen_sibling_gain"] = _told(context_gains(model, siblings, length))


def probe_cases(
    documents: Sequence[Document], generations: Artifact, tokenizer: Tokenizer, context_length: int
) -> list[ContextCase]:
    """Each document behind its own rephrases, and behind those of the next document.

    Raises:
        InputError: fewer than two documents have rephrases, or no row fits into the context.
    """
    from megadocs.evaluate.context_use import ContextCase

    written = written_rows(generations, tokenizer)
    served = [document for document in documents if written.get(document.id)]
    if len(served) < 2:
        raise InputError(
            f"{len(served)} of {len(documents)} documents have rephrases; two are needed",
            where="corpus.split.probe",
            remedy="raise it, or see `megadocs generate status` for what became of the generations",
        )
    shortest = min(len(row) for rows in written.values() for row in rows)
    if shortest + 2 > context_length:
        raise InputError(
            f"the shortest rephrase of a document has {shortest} tokens, the student sees {context_length}: no "
            "document can stand behind one",
            where="train.context_length",
            remedy=f"raise it to {2 * shortest} or more, or lower generate.rephrase.max_new_tokens",
        )
    rows = tokenizer.encode_rows([document.text for document in served])
    return [
        ContextCase(document.id, row, written[document.id], written[served[(number + 1) % len(served)].id])
        for number, (document, row) in enumerate(zip(served, rows, strict=True))
    ]


def written_rows(generations: Artifact, tokenizer: Tokenizer) -> Mapping[str, list[np.ndarray]]:
    """Document -> the rows of its usable generations, in order."""
    texts: dict[str, list[str]] = defaultdict(list)
    for record in iter_generations(generations.path / "generations.parquet"):
        if record.is_usable and record.document_id is not None:
            texts[record.document_id].append(record.text)
    return {name: list(tokenizer.encode_rows(found)) for name, found in texts.items()}


def _told(gains: ContextGains) -> dict[str, object]:
    low, high = gains.interval()
    return {
        "nats_per_token": gains.nats_per_token,
        "interval": [low, high],
        "num_documents": len(gains.document_ids),
        "num_tokens": int(gains.num_tokens.sum()),
        "num_context_rows": gains.num_context_rows,
    }
