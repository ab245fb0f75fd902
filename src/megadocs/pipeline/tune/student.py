"""Student and batch by the number of real tokens, for a recipe that writes `tune` (`off` too) and sets neither.

A student that is far too large for its text is slow and overfits within an epoch or two, one that is too small cannot
use more text. The rule is a table, not a formula, because two of its lines are all that was measured: 12,000 tokens
(recipes/quickstart.yaml: 64 wide, 2 layers, batches of 4 of 256 tokens) and the paper's 204M tokens (300M parameters);
the lines between them keep parameters and tokens of a batch rising together. Within a line, epochs, learning rate and
weight decay are tuned. docs/search.md has the table.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

from megadocs.corpus import read_corpus
from megadocs.documents import Document
from megadocs.recipe import Recipe, build_arms
from megadocs.recipe.references import batch_follows_tokens, check_blocks, follows_tokens
from megadocs.store.artifact import Artifact
from megadocs.text.token_estimate import estimate_tokens


class Student(NamedTuple):
    """One line: from so many real tokens (1x) on, this shape (fields of `model`) and `train.batch_size`."""

    from_tokens: float
    model: dict[str, Any]
    batch_size: int


STUDENTS = (
    Student(
        0,
        {
            "hidden_size": 64,
            "intermediate_size": 176,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "num_key_value_heads": 2,
        },
        4,
    ),
    Student(50_000, {"preset": "tiny"}, 8),
    Student(500_000, {"preset": "5m"}, 16),
    Student(5_000_000, {"preset": "20m"}, 32),
    Student(50_000_000, {"preset": "60m"}, 64),
    Student(150_000_000, {"preset": "300m"}, 64),
)


def student_for(num_tokens: float) -> Student:
    """The line for so many real tokens."""
    return max((line for line in STUDENTS if num_tokens >= line.from_tokens), key=lambda line: line.from_tokens)


def corpus_tokens(documents: Iterable[Document]) -> float:
    """Roughly their tokens (`estimate_tokens`): known before there is a tokenizer."""
    return sum(estimate_tokens(document.text) for document in documents)


def with_student_of(recipe: Recipe, corpus: Artifact) -> Recipe:
    """`with_student` for a published corpus."""
    if not follows_tokens(recipe):
        return recipe
    return with_student(recipe, corpus_tokens(read_corpus(corpus.path).train_multiple(1)))


def with_student(recipe: Recipe, num_tokens: float) -> Recipe:
    """The recipe with the student of its tokens, where `tune` is written; what it sets stays as it is set.

    Raises:
        RecipeError: a mixture block is no multiple of the batch that the tokens ask for.
    """
    if not follows_tokens(recipe):
        return recipe
    line = student_for(num_tokens)
    changes: dict[str, Any] = {}
    if not recipe.model.model_fields_set:
        changes["model"] = recipe.model.model_copy(update=line.model)
    if not batch_follows_tokens(recipe):
        return recipe.model_copy(update=changes)
    changes["train"] = recipe.train.model_copy(update={"batch_size": line.batch_size})
    with_batch = recipe.model_copy(update=changes)
    check_blocks(build_arms(with_batch))
    return with_batch
