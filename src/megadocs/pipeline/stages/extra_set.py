"""Score one model, or an ensemble of K, on one additional set of documents.

The artifact of a run holds `scores.parquet`, in the format of an evaluate artifact, with the sets `<name>` (windowed
and alone), `<name>_short` and `<name>_long` (where the recipe divides it) and `<name>_past_<position>` (alone); that of
an ensemble `ensemble.parquet` (see `ensemble.py`). Both hold `positions.json`, the loss by position, alone:
[{average, members, ranges: [{from, to, num_tokens, nats_per_token}]}]. The summary holds `losses` as an ensemble's.
"""

from __future__ import annotations

from megadocs.corpus import SplitCorpus, iter_documents, read_corpus
from megadocs.documents import Document
from megadocs.errors import InputError
from megadocs.pipeline.stages.stage import StageContext
from megadocs.recipe import CorpusConfig, EvaluationSetConfig
from megadocs.seeding import text_digest
from megadocs.store.files import write_json_atomic


def run(context: StageContext) -> None:
    """Make the extra_set artifact."""
    from megadocs.evaluate.ensembles import write_ensemble_scores
    from megadocs.evaluate.scores import write_scores
    from megadocs.pipeline.stages.scorer import Scorer, loss_summary

    config = EvaluationSetConfig.model_validate(context.config["set"])
    name, source = context.config["name"], CorpusConfig.model_validate(context.config["corpus"])
    documents, num_in_training = read_extra_set(name, config, source, read_corpus(context.inputs["corpus"].path))
    scorer = Scorer.open(context, context.inputs_of_kind("train"))
    found = scorer.additional_set(name, documents, config)
    if len(scorer.members) == 1:
        write_scores(context.build.path / "scores.parquet", [result.scores for result in found.scores])
    else:
        write_ensemble_scores(context.build.path / "ensemble.parquet", found.scores)
    write_json_atomic(context.build.path / "positions.json", found.positions)
    context.build.summary.update(losses=loss_summary(found.scores), num_in_training=num_in_training)


def read_extra_set(
    name: str, config: EvaluationSetConfig, source: CorpusConfig, corpus: SplitCorpus
) -> tuple[list[Document], int]:
    """Read a set, each text once.

    Args:
        name: its key in `evaluate.sets`.
        source: how it is read (`steps.evaluation.corpus_config`).
        corpus: whose training texts it may share, and whose test split names the held-out records.

    Returns:
        The documents, and how many of their texts stand among the training documents.

    Raises:
        InputError: nothing there.
    """
    distinct = {text_digest(document.text): document for document in iter_documents(source)}
    if config.source is None:
        held_out = {document.group for document in corpus.test}
        distinct = {key: d for key, d in distinct.items() if d.group in held_out}
    if not distinct:
        remedy = "no whole record of the corpus is in the test split: name a source"
        raise InputError(
            "the set is empty",
            where=f"evaluate.sets.{name}",
            remedy=remedy if config.source is None else "name a source with at least one document",
        )
    trained_on = {text_digest(document.text) for document in corpus.train}
    return list(distinct.values()), len(trained_on & distinct.keys())
