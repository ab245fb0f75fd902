"""What a recipe reads from outside: the corpus source and published datasets, their digests and their files.

corpus = sources_step(recipe, workspace)    # the corpus step, with the digests of everything that the recipe reads
documents = read_documents(recipe.corpus, recipe.published)
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

from megadocs.corpus import SplitCorpus, iter_documents, source_digest, source_files, split_documents
from megadocs.corpus.held_out import split_held_out
from megadocs.errors import InputError
from megadocs.pipeline.steps.experiment import CorpusFacts, Experiment, build_experiment, corpus_step
from megadocs.pipeline.steps.step import Step, find_artifact
from megadocs.recipe import CorpusConfig, PublishedConfig, PublishedDataset, Recipe
from megadocs.rows import read_real_documents
from megadocs.store.artifact import Artifact, Workspace


def sources_step(recipe: Recipe, workspace: Workspace) -> Step:
    """The corpus step of a recipe, everything that it reads hashed.

    Where a source cannot be read any more, the corpus that the workspace holds of it stands in, if there is one: what
    was published from it stays usable. The step's name says so.

    Raises:
        InputError: a source is missing, unreadable or cannot be reached, and the workspace holds no corpus of it.
    """
    datasets = recipe.published.datasets if recipe.published else {}
    try:
        digests = {name: dataset_digest(name, dataset) for name, dataset in datasets.items()}
        return corpus_step(recipe, source_digest(recipe.corpus), digests)
    except InputError as error:
        kept = _kept_corpus(recipe, workspace)
        if kept is None:
            raise
        return replace(kept, name=f"corpus (from the workspace; its source cannot be read: {error.what})")


def _kept_corpus(recipe: Recipe, workspace: Workspace) -> Step | None:
    """The step of the corpus that was read last with the recipe's settings; None: there is none."""
    artifacts = sorted(workspace.artifacts("corpus"), key=lambda artifact: -artifact.record.get("started_unix", 0.0))
    names = set(recipe.published.datasets if recipe.published else ())
    for artifact in artifacts:
        config = artifact.record["config"]
        digests = config.get("dataset_sha256", {})
        if "source_sha256" in config and names <= set(digests):
            step = corpus_step(recipe, config["source_sha256"], digests)
            if step.fingerprint == artifact.fingerprint:
                return step
    return None


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
    files = [file for file in files if file.suffix.lower() == ".parquet"]
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
    corpus = sources_step(recipe, workspace)
    artifact = find_artifact(corpus, workspace)
    if artifact is None:
        return None, corpus
    return build_experiment(recipe, corpus, corpus_facts(artifact), allow_code=allow_code), corpus


def corpus_facts(artifact: Artifact) -> CorpusFacts:
    """The counts that a corpus artifact recorded."""
    summary = artifact.summary
    return CorpusFacts(summary["num_train_1x"], summary["max_multiple"])
