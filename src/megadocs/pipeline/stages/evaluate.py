"""Score one trained model on the validation and test documents, windowed as in training and each document alone."""

from __future__ import annotations

from typing import Any

from megadocs.corpus import read_corpus
from megadocs.pipeline.stages.stage import StageContext


def run(context: StageContext) -> None:
    """Make the evaluate artifact: scores.parquet; its summary holds the headline losses of each set and mode."""
    from megadocs.evaluate.scores import DocumentScores, write_scores
    from megadocs.pipeline.stages.scorer import Scorer, json_number
    from megadocs.pipeline.stages.world_classes import is_world, world_classes, world_floor

    scorer = Scorer.open(context, [context.inputs["train"]])
    corpus = read_corpus(context.inputs["corpus"].path)
    scores: list[DocumentScores] = []
    floors: dict[str, Any] = {}
    for name, documents in (("validation", corpus.validation), ("test", corpus.test)):
        classes = world_classes(documents, scorer.tokenizer) if is_world(documents) else None
        scores += [result.scores for result in scorer.losses(scorer.data(name, documents), classes)]
        if classes is not None:
            floors[name] = world_floor(documents, classes, scorer.has_start)
    write_scores(context.build.path / "scores.parquet", scores)
    if floors:
        context.build.summary["world_floor"] = floors
    context.build.summary["losses"] = {
        f"{part.set} {part.mode}": {
            "nats_per_token": json_number(part.nats_per_token),
            "num_tokens": int(part.num_tokens.sum()),
            "num_dropped_tokens": part.num_dropped_tokens,
            "num_documents": len(part.document_ids),
        }
        for part in scores
    }
