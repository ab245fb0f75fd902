"""The steps of the gate "can order act here?": one for each arm whose stream holds several rows of a document.

Cheap measurements on the first seed's model (`stages/gate.py`). With probe documents (`corpus.split.probe`) they need
text of their own: the rephrases of documents that nothing is trained on, in the ledger of all others.
"""

from __future__ import annotations

from collections.abc import Sequence

from megadocs.errors import RecipeError
from megadocs.kinds import REAL, SAMPLE, find_ordering, row_kind
from megadocs.pipeline.steps.published import is_published
from megadocs.pipeline.steps.rows import generate_step, task_of
from megadocs.pipeline.steps.step import Step
from megadocs.recipe import Arm, Recipe, build_arms
from megadocs.recipe.data import SplitCounts
from megadocs.streams import synthetic_parts

#: Rephrases of a probe document at most: no context of a small student holds more.
_MOST_SIBLINGS = 16


def num_probes(recipe: Recipe) -> int:
    """Probe documents that the recipe asks for."""
    return recipe.corpus.split.probe if isinstance(recipe.corpus.split, SplitCounts) else 0


def sibling_kind(recipe: Recipe) -> str | None:
    """The kind of rows of which the arm's stream holds several for a document, beside the document; None: none."""
    for part in synthetic_parts(recipe.stream, recipe.mixture):
        for kind in find_ordering(part.ordering).rows(part.real_document):
            if kind != REAL and row_kind(kind).task not in (None, SAMPLE) and not row_kind(kind).is_stretched:
                return kind
    return None


def probe_tasks(recipe: Recipe) -> dict[str, int]:
    """Task -> generations of each probe document that the gate of the recipe's arms needs; empty where it has none."""
    if not num_probes(recipe) or not recipe.evaluate.gate:
        return {}
    kinds = {arm.name: sibling_kind(arm.recipe) for arm in build_arms(recipe)}
    found = [kind for kind in kinds.values() if kind is not None and not is_published(recipe, kind)]
    return {task_of(kind): _num_siblings(recipe, task_of(kind)) for kind in found}


def check_probes(recipe: Recipe, arms: Sequence[Arm]) -> None:
    """Refuse probe documents that nothing would be measured with.

    Raises:
        RecipeError: the recipe asks for them, and no arm has several rows of a document.
    """
    if num_probes(recipe) and recipe.evaluate.gate and not any(sibling_kind(arm.recipe) for arm in arms):
        raise RecipeError(
            f"{num_probes(recipe)} probe documents are asked for, and no arm's stream holds rephrases to measure with",
            where="corpus.split.probe",
            remedy="add an arm with stream.ordering simple or stitched, or set corpus.split.probe=0",
        )


def gate_step(label: str, recipe: Recipe, train: Step, corpus: Step, tokenizer: Step, kind: str) -> Step:
    """Measure one run's use of its context.

    Args:
        label: `stitched seed 0`.
        kind: of its siblings.
    """
    inputs = {"train": train, "corpus": corpus, "tokenizer": tokenizer}
    if num_probes(recipe) and not is_published(recipe, kind):
        inputs["probe"] = probe_step(recipe, corpus, kind)
    else:  # the rephrases that it was trained on: of documents that it knows
        rows = (step.inputs for step in train.inputs.values() if step.config.get("kind") == kind)
        written = next((needed["generations"] for needed in rows if "generations" in needed), None)
        inputs |= {"seen": written} if written is not None else {}
    config = {"context_length": recipe.train.context_length}
    return Step.of("gate", f"gate {label}", config, inputs, slots=train.slots)


def probe_step(recipe: Recipe, corpus: Step, kind: str) -> Step:
    """Write rephrases of the probe documents, as many as the recipe writes of a training document (16 at most).

    Raises:
        RecipeError: the recipe asks for no such task.
    """
    task = task_of(kind)
    return generate_step(recipe.generate, task, _num_siblings(recipe, task), corpus, of="probe")


def _num_siblings(recipe: Recipe, task: str) -> int:
    asked = recipe.generate.task(task)
    if asked is None:
        raise RecipeError(
            "probe documents are written about, and the recipe has no such task",
            where="corpus.split.probe",
            remedy=f"add generate.{task}, or set corpus.split.probe to 0",
        )
    return min(asked.num_generations, _MOST_SIBLINGS)
