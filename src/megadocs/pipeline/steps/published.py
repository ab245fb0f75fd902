"""The steps of recipes with published datasets: the corpus they give, and the rows read from them.

A dataset is named by the SHA-256 of its content, not by where it lies. The digests travel in the corpus step's
settings: the corpus itself depends only on the datasets that give the real documents, each kind of rows only on its own
dataset, so that adding a dataset leaves finished work valid.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from megadocs.errors import RecipeError
from megadocs.kinds import row_kind
from megadocs.pipeline.steps.step import Step
from megadocs.recipe import PublishedConfig, PublishedDataset, Recipe

#: Fields of `published` that decide what is read from a record.
_READING_FIELDS = ("separators", "think_open", "think_close")


def published_corpus_fields(recipe: Recipe, digests: Mapping[str, str]) -> tuple[dict[str, Any], dict[str, Any]]:
    """What published real documents add to what the corpus step is, and to its record (see `Step.of`)."""
    published = recipe.published
    if published is None or published.real_documents == "corpus":
        return {}, {}
    chosen = published.identity()
    names = ("document_fraction", "seed", *_READING_FIELDS)
    identity = {name: chosen[name] for name in names if name in chosen}
    identity["real"] = [_dataset_identity(dataset, digests[name]) for name, dataset in published.real_datasets.items()]
    return {"published": identity}, {"published": published, "dataset_sha256": dict(digests)}


def is_published(recipe: Recipe, kind: str) -> bool:
    """Whether rows of this kind come from a published dataset, not from generation."""
    return recipe.published is not None and bool(_candidates(recipe.published, recipe, kind))


def published_rows_step(kind: str, num_generations: int | None, recipe: Recipe, corpus: Step, tokenizer: Step) -> Step:
    """Tokenise the rows of one kind of the dataset that serves the stream: all its generations, once for every arm.

    Raises:
        RecipeError: no dataset has this kind with enough generations, or several do.
    """
    published = recipe.published
    assert published is not None
    name, dataset = _chosen(published, recipe, kind, num_generations)
    sha256 = corpus.settings["dataset_sha256"][name]
    facts = {
        "num_generations": dataset.num_generations,
        "dataset_name": name,
        "dataset": dataset,
        "dataset_sha256": sha256,
    }
    sections = {"kind": kind, "dataset": _dataset_identity(dataset, sha256), "reading": published}
    inputs = {"corpus": corpus, "tokenizer": tokenizer}
    return Step.of("rows", f"rows {kind} of {name}", sections, inputs, only={"reading": _READING_FIELDS}, facts=facts)


def published_generations(recipe: Recipe, kind: str, wanted: int | None) -> int | None:
    """The G of a stream over published rows: its own, or the dataset's."""
    assert recipe.published is not None
    return wanted or _chosen(recipe.published, recipe, kind, wanted)[1].num_generations


def _dataset_identity(dataset: PublishedDataset, sha256: str) -> dict[str, Any]:
    return {**dataset.identity(), "source": None, "sha256": sha256}


def _candidates(published: PublishedConfig, recipe: Recipe, kind: str) -> dict[str, PublishedDataset]:
    """The datasets that hold rows of this kind, of those that the arm may use."""
    allowed = recipe.stream.datasets or list(published.datasets)
    for name in allowed:
        if name not in published.datasets:
            raise RecipeError(
                f"there is no published dataset {name!r}",
                where="stream.datasets",
                remedy=f"choose from {', '.join(published.datasets)}",
            )
    forms = row_kind(kind).forms
    return {name: published.datasets[name] for name in allowed if published.datasets[name].form in forms}


def _chosen(
    published: PublishedConfig, recipe: Recipe, kind: str, num_generations: int | None
) -> tuple[str, PublishedDataset]:
    """The one dataset of this kind with this G; for rephrases else the one with more, whose first G are used."""
    found = _candidates(published, recipe, kind)
    exact = {name: dataset for name, dataset in found.items() if dataset.num_generations == num_generations}
    larger = {
        name: dataset for name, dataset in found.items() if (dataset.num_generations or 0) > (num_generations or 0)
    }
    row = row_kind(kind)
    is_any = num_generations is None or row.is_unconditional
    serving = found if is_any else exact or (larger if row.is_sampled else {})
    if len(serving) == 1:
        return next(iter(serving.items()))
    listed = ", ".join(f"{name} (G={dataset.num_generations})" for name, dataset in (serving or found).items())
    what = f"{kind} rows" if num_generations is None else f"{kind} rows of G = {num_generations}"
    if serving:
        raise RecipeError(
            f"several published datasets hold {what}: {listed}",
            where="stream.datasets",
            remedy="name the one this arm uses, stream.datasets: [NAME], or its G in stream.num_generations",
        )
    raise RecipeError(
        f"no published dataset holds {what}; there are: {listed}",
        where="stream.num_thoughts" if row.is_stretched else "stream.num_generations",
        remedy="lower it, or add a dataset to published.datasets",
    )
