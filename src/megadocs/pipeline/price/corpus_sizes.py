"""How large a recipe's corpus is, for the plan: counted where the corpus is here, assumed where the recipe says so.

    sizes = measure_corpus(recipe, workspace)
    sizes.train_tokens(4), sizes.held_out_tokens

A recipe made for another machine names `plan.mean_document_tokens` and a split by counts; then `plan` prices it within
a second wherever it runs, and says that the sizes are assumed.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from megadocs.corpus import SplitCorpus, read_corpus
from megadocs.documents import Document
from megadocs.errors import InputError
from megadocs.pipeline.steps.experiment import CorpusFacts, corpus_step
from megadocs.pipeline.steps.sources import read_documents, sources_step
from megadocs.pipeline.steps.step import Step, find_artifact
from megadocs.recipe import Recipe, SplitCounts
from megadocs.store.artifact import Workspace
from megadocs.text.token_estimate import CHARACTERS_PER_TOKEN, estimate_tokens

#: English characters per token of a 2,048-vocabulary BPE, on the documents that it was trained on and on others, and of
#: a large vocabulary.
_CHARACTERS_PER_TOKEN = {"train": (3.9, 3.4), "load": (4.5, 4.5)}
#: Stands for the digest of a source that is not here.
_NO_DIGEST = "assumed"


@dataclass(frozen=True, slots=True)
class CorpusSizes:
    """Sizes of a split corpus.

    Attributes:
        step: the corpus step.
        facts: counts that decide which arms there can be.
        num_validation, num_test: held-out documents.
        held_out_tokens: student tokens of both held-out sets.
        documents: the documents; None where the sizes are assumed.
        mean_document_tokens: used where there are no documents.
        characters_per_token: of the 1x training documents, and of all others, used where there are documents.
    """

    step: Step
    facts: CorpusFacts
    num_validation: int
    num_test: int
    held_out_tokens: float
    documents: SplitCorpus | None
    mean_document_tokens: float = 0.0
    characters_per_token: tuple[float, float] = (1.0, 1.0)

    def train_tokens(self, multiple: int) -> float:
        """Student tokens of the kx training documents."""
        if self.documents is None:
            return multiple * self.facts.num_train_1x * self.mean_document_tokens
        known, new = self.characters_per_token
        once = characters(self.documents.train_multiple(1))
        return once / known + (characters(self.documents.train_multiple(multiple)) - once) / new

    def has_multiple(self, multiple: int) -> bool:
        """Whether there are so many times the 1x documents."""
        return multiple <= self.facts.max_multiple

    def to_json(self) -> dict[str, Any]:
        """The counts, for the plan."""
        return {
            "num_train_1x": self.facts.num_train_1x,
            "max_multiple": self.facts.max_multiple,
            "num_validation": self.num_validation,
            "num_test": self.num_test,
            "is_assumed": self.documents is None,
        }


def measure_corpus(recipe: Recipe, workspace: Workspace) -> CorpusSizes:
    """Count the corpus, in the workspace or at its source; or take the recipe's word for it.

    Raises:
        MegadocsError: the corpus cannot be read and the recipe does not say how large it is.
    """
    try:
        corpus = sources_step(recipe, workspace)
        artifact = find_artifact(corpus, workspace)
        found = read_corpus(artifact.path) if artifact else _read(recipe)
    except InputError:
        if recipe.plan.mean_document_tokens is None or not isinstance(recipe.corpus.split, SplitCounts):
            raise
        return _assumed(recipe, recipe.corpus.split, recipe.plan.mean_document_tokens)
    known, new = _CHARACTERS_PER_TOKEN[recipe.tokenizer.kind]
    share = _characters_beside_english(found.train_multiple(1))
    per_token = (known * share, new * share)
    held_out = characters((*found.validation, *found.test)) / per_token[1]
    facts = CorpusFacts(found.num_train_1x, found.max_multiple)
    return CorpusSizes(
        corpus, facts, len(found.validation), len(found.test), held_out, found, characters_per_token=per_token
    )


def characters(documents: Iterable[Document]) -> int:
    """Of all texts."""
    return sum(len(document.text) for document in documents)


def _characters_beside_english(documents: Iterable[Document]) -> float:
    """Characters per token of these texts as a share of English's: 1 for English, about 0.2 for Chinese."""
    num_characters = num_tokens = 0.0
    for document in documents:
        num_characters += len(document.text)
        num_tokens += estimate_tokens(document.text)
    return num_characters / (num_tokens * CHARACTERS_PER_TOKEN) if num_tokens else 1.0


def _read(recipe: Recipe) -> SplitCorpus:
    return read_documents(recipe.corpus, recipe.published)


def _assumed(recipe: Recipe, split: SplitCounts, mean_tokens: float) -> CorpusSizes:
    held_out = (split.validation + split.test) * mean_tokens
    facts = CorpusFacts(split.train, split.max_multiple)
    corpus = corpus_step(recipe, _NO_DIGEST)
    return CorpusSizes(corpus, facts, split.validation, split.test, held_out, None, mean_tokens)
