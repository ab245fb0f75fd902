"""Tokenise rows of one kind into segments (shared, named by content) and publish the list of them."""

from __future__ import annotations

from pathlib import Path

from megadocs.corpus import read_corpus
from megadocs.errors import InputError, MissingGenerationsError
from megadocs.generate import Accounting
from megadocs.kinds import REAL, row_kind
from megadocs.pipeline.stages.stage import StageContext
from megadocs.pipeline.steps.sources import dataset_digest, dataset_files
from megadocs.recipe import PublishedConfig, PublishedDataset
from megadocs.rows import (
    RowsManifest,
    build_published_rows,
    build_real_rows,
    build_sampled_rows,
    build_stretched_rows,
)
from megadocs.text.tokenizer import Tokenizer, load_tokenizer

#: Documents by which a tokenizer that does not know their script is found.
_LOOKED_AT = 64


def run(context: StageContext) -> None:
    """Make the rows artifact: rows.json; its summary holds the counts, missing generations included."""
    segments = context.workspace.root / "segments"
    tokenizer = load_tokenizer(str(context.inputs["tokenizer"].path))
    config = context.config
    manifest: RowsManifest
    if "dataset" in config:
        manifest = published_rows(context, tokenizer)
    elif row_kind(config["kind"]).is_unconditional:
        samples = context.inputs["generations"].path / "generations.parquet"
        manifest = build_sampled_rows(config["kind"], samples, tokenizer, segments)
    elif config["kind"] == REAL:
        documents = read_corpus(context.inputs["corpus"].path).train
        tokenizer.refuse_unknown([document.text for document in documents[:_LOOKED_AT]], "tokenizer")
        manifest = build_real_rows(documents, tokenizer, segments)
    else:
        manifest = _generated_rows(context, tokenizer, segments)
    manifest.save(context.build.path / "rows.json")
    context.build.summary.update(manifest.summary())


def _generated_rows(context: StageContext, tokenizer: Tokenizer, segments: Path) -> RowsManifest:
    """Rows of generations about documents, or of documents stretched by them."""
    config = context.config
    accounting = Accounting.from_json(context.inputs["generations"].summary["accounting"])
    if not accounting.ok:
        raise MissingGenerationsError(
            f"there are no rows to build: {accounting.missing_text()}",
            where=f"generate.{context.inputs['generations'].record['config']['task']}",
            remedy="; ".join(accounting.remedies()),
        )
    documents = read_corpus(context.inputs["corpus"].path).train_multiple(1)
    generations, num_generations = context.inputs["generations"].path / "generations.parquet", config["num_generations"]
    if row_kind(config["kind"]).is_sampled:
        return build_sampled_rows(
            config["kind"],
            generations,
            tokenizer,
            segments,
            num_generations=num_generations,
            documents={document.id: document.text for document in documents},
        )
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


def published_rows(context: StageContext, tokenizer: Tokenizer) -> RowsManifest:
    """Rows of one kind for the 1x documents; the counts of what was read go into the summary.

    Raises:
        InputError: the dataset is not what the plan hashed, or cannot be read as stated.
    """
    config = context.config
    dataset, name = PublishedDataset.model_validate(config["dataset"]), config["dataset_name"]
    if dataset_digest(name, dataset) != config["dataset_sha256"]:
        raise InputError(
            "the dataset changed while the recipe ran",
            where=f"{dataset.source} (published.datasets.{name}.source)",
            remedy="run again when nothing writes to it",
        )
    reading = {"datasets": {name: dataset}, "real_documents": "corpus", **config["reading"]}
    manifest, counts = build_published_rows(
        dataset,
        PublishedConfig.model_validate(reading),
        dataset_files(name, dataset),
        config["kind"],
        read_corpus(context.inputs["corpus"].path).train_multiple(1),
        tokenizer,
        context.workspace.root / "segments",
    )
    context.build.summary["published"] = counts
    return manifest
