"""The part of the rows stage that reads a published dataset."""

from __future__ import annotations

from megadocs.corpus import read_corpus
from megadocs.errors import InputError
from megadocs.pipeline.stages import StageContext
from megadocs.pipeline.steps.sources import dataset_digest, dataset_files
from megadocs.recipe import PublishedConfig, PublishedDataset
from megadocs.rows import RowsManifest, build_published_rows
from megadocs.text.tokenizer import Tokenizer


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
