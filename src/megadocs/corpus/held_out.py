"""A corpus whose training documents are given: the source holds validation and test alone, half and half.

    corpus = split_held_out(real_documents, iter_documents(config), config, document_fraction=Decimal("0.25"), seed=0)

Training documents are drawn in hash order, the first share of them is 1x. Held-out documents that are training
documents too (same id or same text) are dropped and counted. As in `split.py`, records are never divided.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from megadocs.corpus.losses import refuse_losses
from megadocs.corpus.reading import DocumentStream
from megadocs.corpus.split import MIN_HELD_OUT, SplitCorpus
from megadocs.documents import Document
from megadocs.errors import InputError
from megadocs.recipe.data import CorpusConfig
from megadocs.seeding import derive_seed, document_key, mix, text_digest


def split_held_out(
    real_documents: Sequence[Document],
    held_out: DocumentStream,
    config: CorpusConfig,
    *,
    document_fraction: Decimal,
    seed: int,
) -> SplitCorpus:
    """The corpus of given training documents and a source of held-out ones.

    Args:
        real_documents: each once, not empty.
        held_out: the source's documents.
        config: names the source; its seed decides which of them are validation and which test.
        document_fraction: share of the real documents that is the 1x set.
        seed: of the order in which real documents are drawn.

    Raises:
        InputError: fewer than 16 held-out documents are left, or the 1x set would be empty.
    """
    duplicates: Counter[str] = Counter()
    kept = _without_duplicates(held_out, real_documents, duplicates)
    num_read = len(kept) + duplicates["of_training_documents"] + duplicates["of_held_out_documents"]
    refuse_losses({**held_out.intake.to_json(), "num_documents": num_read, "duplicates": dict(duplicates)}, config)
    if len(kept) < 2 * MIN_HELD_OUT:
        raise InputError(
            f"{len(kept)} held-out documents ({num_read - len(kept)} duplicates dropped, "
            f"{duplicates['of_training_documents']} of them of training documents), at least {2 * MIN_HELD_OUT} needed",
            where=f"{config.source} (corpus.source)",
            remedy="name a source of other documents than the published ones",
        )
    validation, test = _halves(kept, config.seed)
    num_train_1x = int(len(real_documents) * document_fraction)
    if not num_train_1x:
        raise InputError(
            f"{document_fraction} of {len(real_documents)} documents is none",
            where="published.document_fraction",
            remedy="raise it",
        )
    max_multiple = len(real_documents) // num_train_1x
    train = _drawn(real_documents, seed)[: num_train_1x * max_multiple]
    report: dict[str, Any] = {
        **held_out.intake.to_json(),
        "num_documents": len(real_documents) + num_read,
        "duplicates": dict(duplicates),
        "num_distinct_documents": len(real_documents) + len(kept),
        "split": "published training documents; the source is held out, half validation, half test",
        "num_train_1x": num_train_1x,
        "max_multiple": max_multiple,
        "num_train": len(train),
        "num_validation": len(validation),
        "num_test": len(test),
        "not_used": len(real_documents) - len(train),
    }
    return SplitCorpus(train, validation, test, num_train_1x, max_multiple, report)


def _without_duplicates(
    held_out: DocumentStream, real_documents: Sequence[Document], duplicates: Counter[str]
) -> list[Document]:
    training = {document.id for document in real_documents}
    training |= {text_digest(document.text) for document in real_documents}
    seen: set[str] = set()
    kept = []
    for document in held_out:
        digest = text_digest(document.text)
        names = {document.id, digest}
        if document.id in seen and digest not in seen:  # counted among the held-out duplicates, too
            duplicates["same_id"] += 1
        if names & training:
            duplicates["of_training_documents"] += 1
        elif names & seen:
            duplicates["of_held_out_documents"] += 1
        else:
            kept.append(document)
        seen |= names
    return kept


def _halves(documents: Sequence[Document], seed: int) -> tuple[list[Document], list[Document]]:
    """Whole records in hash order: validation until it holds half of the documents, then test."""
    groups: dict[str, list[Document]] = {}
    for document in documents:
        groups.setdefault(str(document.meta["group"]), []).append(document)
    split_seed = derive_seed(seed, "split")
    validation: list[Document] = []
    test: list[Document] = []
    for group in sorted(groups, key=lambda name: (mix(split_seed ^ document_key(name)), name)):
        (test if len(validation) >= len(documents) // 2 else validation).extend(groups[group])
    if not test:
        raise InputError("all held-out documents come from one record", remedy="add records, or cut none into pieces")
    return _drawn(validation, seed), _drawn(test, seed)


def _drawn(documents: Sequence[Document], seed: int) -> list[Document]:
    draw_seed = derive_seed(seed, "draw")
    return sorted(documents, key=lambda document: (mix(draw_seed ^ document_key(document.id)), document.id))
