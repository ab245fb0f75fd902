"""Score one trained model on the validation and test documents, windowed as in training and each document alone."""

from __future__ import annotations

from megadocs.corpus import iter_documents, read_corpus
from megadocs.documents import Document
from megadocs.pipeline.stages import StageContext
from megadocs.recipe import CorpusConfig, EvaluateConfig
from megadocs.text.tokenizer import load_tokenizer


def run(context: StageContext) -> None:
    """Make the evaluate artifact: scores.parquet; its summary holds the headline losses of each set and mode."""
    from megadocs.evaluate.document_losses import score_documents, score_windows
    from megadocs.evaluate.evaluation_set import build_evaluation_set
    from megadocs.evaluate.scores import write_scores
    from megadocs.evaluate.scoring_model import as_scoring_model
    from megadocs.model import import_hf

    config = EvaluateConfig.model_validate(context.config["evaluate"])
    context_length = context.config["context_length"]
    tokenizer = load_tokenizer(str(context.inputs["tokenizer"].path))
    train = context.inputs["train"]
    dtype = train.record["config"]["train"]["dtype"]
    model = as_scoring_model(import_hf(train.path / "model"), dtype=dtype)
    scores = []
    for name, documents in _sets(context, config).items():
        data = build_evaluation_set(name, documents, tokenizer)
        if sum(len(row) for row in data.rows) >= context_length:  # a smaller set fills no window: alone only
            scores.append(score_windows(model, data, context_length=context_length, batch_size=config.batch_size))
        scores.append(
            score_documents(
                model,
                data,
                context_length=context_length,
                stride=config.stride,
                batch_size=config.batch_size,
                start_id=tokenizer.eos_id if tokenizer.separators_per_row == 1 else None,
            )
        )
    write_scores(context.build.path / "scores.parquet", scores)
    context.build.summary["losses"] = {
        f"{part.set} {part.mode}": {
            "nats_per_token": part.nats_per_token,
            "num_tokens": int(part.num_tokens.sum()),
            "num_dropped_tokens": part.num_dropped_tokens,
            "num_documents": len(part.document_ids),
        }
        for part in scores
    }


def _sets(context: StageContext, config: EvaluateConfig) -> dict[str, list[Document]]:
    """Validation, test and the recipe's extra sets."""
    corpus = read_corpus(context.inputs["corpus"].path)
    sets = {"validation": list(corpus.validation), "test": list(corpus.test)}
    for name, source in config.sets.items():
        sets[name] = list(iter_documents(CorpusConfig(source=source)))
    return sets
