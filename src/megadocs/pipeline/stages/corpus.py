"""Read the source, cut it into documents, split them; publish documents.parquet and corpus.json."""

from __future__ import annotations

from megadocs.corpus import write_corpus
from megadocs.pipeline.stages.stage import StageContext
from megadocs.pipeline.steps.sources import read_documents
from megadocs.recipe import CorpusConfig, PublishedConfig


def run(context: StageContext) -> None:
    """Make the corpus artifact; its summary holds every count."""
    config = CorpusConfig.model_validate(context.config["corpus"])
    published = context.config.get("published")
    corpus = read_documents(config, PublishedConfig.model_validate(published) if published else None)
    context.build.summary.update(write_corpus(corpus, context.build.path))
