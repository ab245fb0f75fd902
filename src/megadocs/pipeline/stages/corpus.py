"""Read the source, cut it into documents, split them; publish documents.parquet and corpus.json."""

from __future__ import annotations

from megadocs.corpus import iter_documents, split_documents, write_corpus
from megadocs.pipeline.stages import StageContext
from megadocs.recipe import CorpusConfig


def run(context: StageContext) -> None:
    """Make the corpus artifact; its summary holds every count."""
    config = CorpusConfig.model_validate(context.config["corpus"])
    corpus = split_documents(iter_documents(config), config)
    context.build.summary.update(write_corpus(corpus, context.build.path))
