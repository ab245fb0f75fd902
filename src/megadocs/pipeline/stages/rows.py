"""Tokenise rows of one kind into segments (shared, named by content) and publish the list of them."""

from __future__ import annotations

from megadocs.corpus import read_corpus
from megadocs.pipeline.stages import StageContext
from megadocs.rows import RowsManifest, build_real_rows, build_rephrase_rows, build_stretched_rows
from megadocs.text.tokenizer import load_tokenizer


def run(context: StageContext) -> None:
    """Make the rows artifact: rows.json; its summary holds the counts, missing generations included."""
    segments = context.workspace.root / "segments"
    tokenizer = load_tokenizer(str(context.inputs["tokenizer"].path))
    corpus = read_corpus(context.inputs["corpus"].path)
    config = context.config
    manifest: RowsManifest
    if config["kind"] == "real":
        manifest = build_real_rows(corpus.train, tokenizer, segments)
    else:
        generations = context.inputs["generations"].path / "generations.parquet"
        num_generations = config["num_generations"]
        if config["kind"] == "rephrase":
            documents = [document.id for document in corpus.train_multiple(1)]
            manifest = build_rephrase_rows(
                generations, tokenizer, segments, num_generations=num_generations, documents=documents
            )
        else:
            manifest = build_stretched_rows(
                corpus.train_multiple(1),
                generations,
                tokenizer,
                segments,
                num_generations=num_generations,
                think_open=config["think_open"],
                think_close=config["think_close"],
                kind=config["kind"],
            )
    manifest.save(context.build.path / "rows.json")
    context.build.summary.update(manifest.summary())
