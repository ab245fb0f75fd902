"""What a recipe reads from outside: the corpus source and published datasets, their digests and their files.

corpus = sources_step(recipe)          # the corpus step, with the digests of everything that the recipe reads
documents = read_documents(recipe.corpus, recipe.published)
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from megadocs.corpus import SplitCorpus, iter_documents, source_digest, source_files, split_documents
from megadocs.corpus.held_out import split_held_out
from megadocs.errors import InputError
from megadocs.pipeline.steps.experiment import CorpusFacts, Experiment, build_experiment, corpus_step
from megadocs.pipeline.steps.step import Step, find_artifact
from megadocs.recipe import CorpusConfig, PublishedConfig, PublishedDataset, Recipe
from megadocs.rows import read_real_documents
from megadocs.store.artifact import Artifact, Workspace


def sources_step(recipe: Recipe) -> Step:
    """The corpus step of a recipe, everything that it reads hashed.

    Raises:
        InputError: a source is missing, unreadable or cannot be reached.
    """
    datasets = recipe.published.datasets if recipe.published else {}
    digests = {name: dataset_digest(name, dataset) for name, dataset in datasets.items()}
    return corpus_step(recipe, source_digest(recipe.corpus), digests)


def dataset_digest(name: str, dataset: PublishedDataset) -> str:
    """The dataset's content as one hash (hub: commit and names of its files)."""
    try:
        return source_digest(CorpusConfig(source=dataset.source))
    except InputError as error:
        raise _of_dataset(error, name, dataset) from error


def dataset_files(name: str, dataset: PublishedDataset) -> list[Path]:
    """The dataset's Parquet files in the order of their names; of the hub: fetched into its cache."""
    try:
        files = source_files(dataset.source)
    except InputError as error:
        raise _of_dataset(error, name, dataset) from error
    files = [file for file in files if file.suffix == ".parquet"]
    if not files:
        raise InputError(
            "no Parquet files there",
            where=f"{dataset.source} (published.datasets.{name}.source)",
            remedy="give a Parquet file, a folder of them, a glob or hf://org/name",
        )
    return files


def read_documents(corpus: CorpusConfig, published: PublishedConfig | None) -> SplitCorpus:
    """The split corpus: of the source, or of published real documents and a held-out source.

    Raises:
        InputError: see `split_documents`, `read_real_documents` and `split_held_out`.
    """
    documents = iter_documents(corpus)
    if published is None or published.real_documents == "corpus":
        return split_documents(documents, corpus)
    account: Counter[str] = Counter()
    files = {name: dataset_files(name, dataset) for name, dataset in published.real_datasets.items()}
    real = read_real_documents(published, files, account)
    split = split_held_out(real, documents, corpus, document_fraction=published.document_fraction, seed=published.seed)
    split.report["published"] = dict(sorted(account.items()))
    return split


def _of_dataset(error: InputError, name: str, dataset: PublishedDataset) -> InputError:
    return InputError(
        error.what,
        where=f"{dataset.source} (published.datasets.{name}.source)",
        remedy="check the name and the network (gated datasets need HF_TOKEN), or fetch the Parquet files on a machine "
        "that has one and give their folder"
        if dataset.source.startswith("hf://")
        else "give a Parquet file, a folder of them, a glob or hf://org/name",
    )


def open_experiment(
    recipe: Recipe, workspace: Workspace, *, allow_code: bool = False
) -> tuple[Experiment | None, Step]:
    """The experiment's steps if its corpus is published (else None), and the corpus step."""
    corpus = sources_step(recipe)
    artifact = find_artifact(corpus, workspace)
    if artifact is None:
        return None, corpus
    return build_experiment(recipe, corpus, corpus_facts(artifact), allow_code=allow_code), corpus


def corpus_facts(artifact: Artifact) -> CorpusFacts:
    """The counts that a corpus artifact recorded."""
    summary = artifact.summary
    return CorpusFacts(summary["num_train_1x"], summary["max_multiple"])
