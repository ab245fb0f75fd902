"""Measure whether a trained student uses its context, on documents that it was not trained on."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from megadocs.analysis import gain_row, json_form
from megadocs.corpus import read_corpus
from megadocs.documents import Document, source_groups
from megadocs.errors import InputError
from megadocs.pipeline.stages.stage import StageContext
from megadocs.rows.generations import iter_generations
from megadocs.store.artifact import Artifact
from megadocs.text.tokenizer import Tokenizer

if TYPE_CHECKING:
    from megadocs.evaluate.context_use import ContextCase, Row

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
    ordered = validation.ordered()
    rows = ordered.rows[:_NUM_DOCUMENTS]
    found: dict[str, Any] = {
        "repeat_score": repeat_score(model, np.concatenate(rows), length),
        "late_minus_early": late_minus_early(model, validation, length),
    }

    def gain(cases: Sequence[ContextCase], documents: Sequence[Document]) -> dict[str, Any]:
        gains = context_gains(model, cases, length)
        row = gain_row(gains.document_ids, gains.num_tokens, gains.gains, source_groups(documents))
        return {**row, "num_context_rows": gains.num_context_rows}

    if len(rows) > 1:
        halves = {name: [row[: length // 2]] for name, row in zip(ordered.document_ids, rows, strict=False)}
        copies = [
            ContextCase(name, half[0], half, _foreign_rows(halves, index))
            for index, (name, half) in enumerate(halves.items())
        ]
        found["copy_gain"] = gain(copies, corpus.validation)
    if "probe" in context.inputs:
        written = written_rows(context.inputs["probe"], tokenizer)
        found["sibling_gain"] = gain(probe_cases(corpus.probe, written, tokenizer, length), corpus.probe)
    elif "seen" in context.inputs:
        known = corpus.train_multiple(1)[:_NUM_DOCUMENTS]
        written = written_rows(context.inputs["seen"], tokenizer)
        try:
            cases = probe_cases(known, written, tokenizer, length)
        except InputError as error:  # nobody asked for this one: a context too short for it is no failure of the run
            found["no_sibling_gain"] = error.what
            context.report({"note": f"no sibling gain: {error.what}"})
        else:
            found["seen_sibling_gain"] = gain(cases, known)
    context.build.summary.update(json_form(found))


def probe_cases(
    documents: Sequence[Document], written: Mapping[str, Sequence[Row]], tokenizer: Tokenizer, context_length: int
) -> list[ContextCase]:
    """Each document behind its own rephrases (`written`), and behind those of the documents after it.

    Raises:
        InputError: fewer than two documents have rephrases, or no row fits into the context.
    """
    from megadocs.evaluate.context_use import ContextCase

    served = [document for document in documents if written.get(document.id)]
    if len(served) < 2:
        raise InputError(
            f"{len(served)} of {len(documents)} documents have rephrases; two are needed",
            where="corpus.split.probe",
            remedy="raise it, or see `megadocs generate status` for what became of the generations",
        )
    siblings = {document.id: written[document.id] for document in served}
    shortest = min(len(row) for rows in siblings.values() for row in rows)
    if shortest + 2 > context_length:
        raise InputError(
            f"the shortest rephrase of a document has {shortest} tokens, the student sees {context_length}: no "
            "document can stand behind one",
            where="train.context_length",
            remedy=f"raise it to {2 * shortest} or more, or lower generate.rephrase.max_new_tokens",
        )
    rows = tokenizer.encode_rows([document.text for document in served])
    return [
        ContextCase(document.id, row, siblings[document.id], _foreign_rows(siblings, index))
        for index, (document, row) in enumerate(zip(served, rows, strict=True))
    ]


def _foreign_rows(rows: Mapping[str, Sequence[Row]], place: int) -> list[Row]:
    """Rows of the documents after the one at `place`, round the list, until they hold as many tokens as its own."""
    names = list(rows)
    wanted = sum(map(len, rows[names[place]]))
    found: list[Row] = []
    for name in (*names[place + 1 :], *names[:place]):
        found = [*rows[name], *found]  # the next document's stand last, where they are read first
        if sum(map(len, found)) >= wanted:
            break
    return found


def written_rows(generations: Artifact, tokenizer: Tokenizer) -> Mapping[str, list[np.ndarray]]:
    """Document -> the rows of its usable generations, in order."""
    texts: dict[str, list[str]] = defaultdict(list)
    for record in iter_generations(generations.path / "generations.parquet"):
        if record.is_usable and record.document_id is not None:
            texts[record.document_id].append(record.text)
    return {name: list(tokenizer.encode_rows(found)) for name, found in texts.items()}
