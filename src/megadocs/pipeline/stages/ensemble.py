"""Score an ensemble on validation and test: both averages, every size 1..K.

The artifact holds `ensemble.parquet`: `set, mode, document_id, num_tokens, num_bytes, sum_nll` as in a run's
`scores.parquet`, and `average` (logits, probabilities) and `members` (indices, ascending). Its summary holds
`losses`: `<set> <mode>` -> `sizes` [{average, num_members, num_subsets, nats_per_token, standard_deviation}].
"""

from __future__ import annotations

from megadocs.corpus import read_corpus
from megadocs.pipeline.stages.stage import StageContext


def run(context: StageContext) -> None:
    """Make the ensemble artifact."""
    from megadocs.evaluate.ensembles import write_ensemble_scores
    from megadocs.pipeline.stages.scorer import Scorer, loss_summary

    scorer = Scorer.open(context, context.inputs_of_kind("train"))
    corpus = read_corpus(context.inputs["corpus"].path)
    results = []
    for name, documents in (("validation", corpus.validation), ("test", corpus.test)):
        results += scorer.losses(scorer.data(name, documents))
    write_ensemble_scores(context.build.path / "ensemble.parquet", results)
    context.build.summary.update(num_members=len(scorer.members), losses=loss_summary(results))
