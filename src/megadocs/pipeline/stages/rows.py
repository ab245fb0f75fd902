"""Tokenise rows of one kind into segments (shared, named by content) and publish the list of them."""

from __future__ import annotations

from pathlib import Path

from megadocs.corpus import read_corpus
from megadocs.pipeline.stages import StageContext
from megadocs.pipeline.stages.published_rows import published_rows
from megadocs.rows import (
    RowsManifest,
    build_real_rows,
    build_rephrase_rows,
    build_self_distilled_rows,
    build_stretched_rows,
)
from megadocs.text.tokenizer import Tokenizer, load_tokenizer


def run(context: StageContext) -> None:
    """Make the rows artifact: rows.json; its summary holds the counts, missing generations included."""
    segments = context.workspace.root / "segments"
    tokenizer = load_tokenizer(str(context.inputs["tokenizer"].path))
    config = context.config
    manifest: RowsManifest
    if "dataset" in config:
        manifest = published_rows(context, tokenizer)
    elif config["kind"] == "self_distilled":
        samples = context.inputs["generations"].path / "generations.parquet"
        manifest = build_self_distilled_rows(samples, tokenizer, segments)
    elif config["kind"] == "real":
        manifest = build_real_rows(read_corpus(context.inputs["corpus"].path).train, tokenizer, segments)
    else:
        manifest = _generated_rows(context, tokenizer, segments)
    manifest.save(context.build.path / "rows.json")
    context.build.summary.update(manifest.summary())


def _generated_rows(context: StageContext, tokenizer: Tokenizer, segments: Path) -> RowsManifest:
    """Rows of rephrases, or of documents stretched by thoughts."""
    config = context.config
    documents = read_corpus(context.inputs["corpus"].path).train_multiple(1)
    generations, num_generations = context.inputs["generations"].path / "generations.parquet", config["num_generations"]
    if config["kind"] == "rephrase":
        ids = [document.id for document in documents]
        return build_rephrase_rows(generations, tokenizer, segments, num_generations=num_generations, documents=ids)
    return build_stretched_rows(
        documents,
        generations,
        tokenizer,
        segments,
        num_generations=num_generations,
        think_open=config["think_open"],
        think_close=config["think_close"],
        kind=config["kind"],
    )
