"""Score one model, or an ensemble of K, on one further set of documents.

The artifact of a run holds `scores.parquet`, in the format of an evaluate artifact, with the sets `<name>` (windowed
and alone), `<name>_short` and `<name>_long` (where the recipe divides it) and `<name>_past_<position>` (alone); that of
an ensemble `ensemble.parquet` (see `ensemble.py`). Both hold `positions.json`, the loss by position, alone:
[{average, members, ranges: [{from, to, num_tokens, nats_per_token}]}]. The summary holds `losses` as an ensemble's.
"""

from __future__ import annotations

from megadocs.corpus import iter_documents, read_corpus
from megadocs.documents import Document
from megadocs.errors import InputError
from megadocs.pipeline.stages import StageContext
from megadocs.recipe import CorpusConfig, EvaluationSetConfig
from megadocs.seeding import text_digest
from megadocs.store.files import write_json_atomic


def run(context: StageContext) -> None:
    """Make the extra_set artifact."""
    from megadocs.evaluate.ensembles import write_ensemble_scores
    from megadocs.evaluate.scores import write_scores
    from megadocs.pipeline.scoring import Scorer, loss_summary

    config = EvaluationSetConfig.model_validate(context.config["set"])
    documents, num_in_training = _documents(context, config)
    scorer = Scorer.open(context, context.inputs_of_kind("train"))
    whole = scorer.data(context.config["name"], documents)
    parts = [whole]
    if config.short_below_tokens is not None:
        parts += [part for part in whole.short_and_long(config.short_below_tokens) if part is not None]
    results = [result for part in parts for result in scorer.losses(part)]
    for position in config.past:
        results += scorer.losses_past(whole, position)
    if len(scorer.members) == 1:
        write_scores(context.build.path / "scores.parquet", [result.scores for result in results])
    else:
        write_ensemble_scores(context.build.path / "ensemble.parquet", results)
    write_json_atomic(context.build.path / "positions.json", scorer.positions(whole))
    context.build.summary.update(losses=loss_summary(results), num_in_training=num_in_training)


def _documents(context: StageContext, config: EvaluationSetConfig) -> tuple[list[Document], int]:
    """The set's documents, each text once, and how many of their texts the model may have been trained on."""
    corpus = read_corpus(context.inputs["corpus"].path)
    found = iter_documents(CorpusConfig.model_validate(context.config["corpus"]))
    distinct = {text_digest(document.text): document for document in found}
    if config.source is None:
        held_out = {str(document.meta.get("group", document.id)) for document in corpus.test}
        distinct = {key: d for key, d in distinct.items() if str(d.meta.get("group", d.id)) in held_out}
    if not distinct:
        raise InputError(
            "the set is empty",
            where=f"evaluate.sets.{context.config['name']}",
            remedy="name another source"
            if config.source
            else "no whole record of the corpus belongs to the test split: name a source",
        )
    trained_on = {text_digest(document.text) for document in corpus.train}
    return list(distinct.values()), len(trained_on & distinct.keys())
