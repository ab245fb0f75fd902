"""The documents of a recipe's further sets: of a source of their own, or the corpus's held-out records, whole."""

from __future__ import annotations

from megadocs.corpus import SplitCorpus, iter_documents
from megadocs.documents import Document
from megadocs.errors import InputError
from megadocs.recipe import CorpusConfig, EvaluationSetConfig
from megadocs.seeding import text_digest


def read_extra_set(
    name: str, config: EvaluationSetConfig, source: CorpusConfig, corpus: SplitCorpus
) -> tuple[list[Document], int]:
    """Read a set, each text once.

    Args:
        name: its key in `evaluate.sets`.
        config: its entry.
        source: how it is read (`evaluation_steps.corpus_config`).
        corpus: whose training texts it may share, and whose test split names the held-out records.

    Returns:
        The documents, and how many of their texts stand among the training documents.

    Raises:
        InputError: nothing there.
    """
    distinct = {text_digest(document.text): document for document in iter_documents(source)}
    if config.source is None:
        held_out = {str(document.meta.get("group", document.id)) for document in corpus.test}
        distinct = {key: d for key, d in distinct.items() if str(d.meta.get("group", d.id)) in held_out}
    if not distinct:
        remedy = "no whole record of the corpus is in the test split: name a source"
        raise InputError(
            "the set is empty",
            where=f"evaluate.sets.{name}",
            remedy=remedy if config.source is None else "name a source with at least one document",
        )
    trained_on = {text_digest(document.text) for document in corpus.train}
    return list(distinct.values()), len(trained_on & distinct.keys())
