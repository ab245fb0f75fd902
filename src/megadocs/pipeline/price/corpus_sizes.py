"""How large a recipe's corpus is, for the plan: counted where the corpus is here, assumed where the recipe says so.

    sizes = measure_corpus(recipe, workspace)
    sizes.train_tokens(4), sizes.held_out_tokens

The tokens of a corpus up to 2 million characters are those of the student's tokenizer, which is read, or trained as the
run will train it: the plan's steps of real text are then the run's. A recipe made for another machine names
`plan.mean_document_tokens` and a split by counts; then `plan` prices it within a second wherever it runs, and says that
the sizes are assumed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from megadocs.corpus import SplitCorpus, read_corpus
from megadocs.documents import Document
from megadocs.errors import InputError, MegadocsError
from megadocs.pipeline.steps.experiment import CorpusFacts, corpus_step
from megadocs.pipeline.steps.sources import read_documents, sources_step
from megadocs.pipeline.steps.step import Step, find_artifact
from megadocs.recipe import Recipe, SplitCounts
from megadocs.recipe.data import LoadedTokenizer
from megadocs.recipe.paths import user_path
from megadocs.store.artifact import Workspace
from megadocs.text.token_estimate import CHARACTERS_PER_TOKEN, estimate_tokens
from megadocs.text.tokenizer import Tokenizer, load_tokenizer, train_tokenizer

#: English characters per token of a 2,048-vocabulary BPE, on the documents that it was trained on and on others, and of
#: a large vocabulary.
_CHARACTERS_PER_TOKEN = {"train": (3.9, 3.4), "load": (4.5, 4.5)}
#: Larger corpora are estimated: training a tokenizer on so much takes about a second, counting it another.
_COUNTED_CHARACTERS = 2_000_000
#: Stands for the digest of a source that is not here.
_NO_DIGEST = "assumed"


@dataclass(frozen=True, slots=True)
class CorpusSizes:
    """Sizes of a split corpus."""

    step: Step
    facts: CorpusFacts  # counts that decide which arms there can be
    #: `num_validation`, `num_test`: held-out documents.
    num_validation: int
    num_test: int
    held_out_tokens: float  # student tokens of both held-out sets
    documents: SplitCorpus | None  # the documents; None where the sizes are assumed
    mean_document_tokens: float = 0.0  # used where there are no documents
    #: of the 1x training documents, and of all others, used where there are documents.
    characters_per_token: tuple[float, float] = (1.0, 1.0)
    #: training document -> its tokens, separators included; empty: estimated by `characters_per_token`.
    counted: Mapping[str, int] = field(default_factory=dict)

    def train_tokens(self, multiple: int) -> float:
        """Student tokens of the kx training documents."""
        if self.documents is None:
            return multiple * self.facts.num_train_1x * self.mean_document_tokens
        if self.counted:
            return sum(self.counted[document.id] for document in self.documents.train_multiple(multiple))
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
    tokenizer = _student_tokenizer(recipe, found)
    counted = {}
    if tokenizer is not None:
        counted = _count_tokens(found.train, tokenizer)
        held_out = float(sum(_count_tokens((*found.validation, *found.test), tokenizer).values()))
    return CorpusSizes(
        corpus,
        facts,
        len(found.validation),
        len(found.test),
        held_out,
        found,
        characters_per_token=per_token,
        counted=counted,
    )


def _student_tokenizer(recipe: Recipe, corpus: SplitCorpus) -> Tokenizer | None:
    """The student's tokenizer, where it is here or is trained in a moment; None: sizes are estimated."""
    if characters((*corpus.train, *corpus.validation, *corpus.test)) > _COUNTED_CHARACTERS:
        return None
    config = recipe.tokenizer
    try:
        if isinstance(config, LoadedTokenizer):  # a hub name is not downloaded for a plan
            return load_tokenizer(config.source) if user_path(config.source).exists() else None
        return train_tokenizer([document.text for document in corpus.train_multiple(1)], config.vocab_size)
    except MegadocsError:  # the run says so, where it needs the tokenizer
        return None


def _count_tokens(documents: Sequence[Document], tokenizer: Tokenizer) -> dict[str, int]:
    rows = tokenizer.encode_rows([document.text for document in documents])
    return {document.id: len(row) for document, row in zip(documents, rows, strict=True)}


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
