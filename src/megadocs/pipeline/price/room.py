"""Has order room to act? Arithmetic before any run, for arms whose stream holds several rows of a document.

Stitched and simple can differ only where a window holds several rows, and in a student that has trained long enough to
copy from its context. The plan says how far a recipe is from both; the gate measures it afterwards (docs/order.md).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from megadocs.generate.plan import asked_task
from megadocs.pipeline.price.corpus_sizes import CorpusSizes
from megadocs.pipeline.price.generation import reply_tokens
from megadocs.pipeline.price.lines import PlanLine
from megadocs.pipeline.steps.experiment import Experiment
from megadocs.pipeline.steps.gate import sibling_kind
from megadocs.pipeline.steps.published import is_published
from megadocs.pipeline.steps.rows import task_of
from megadocs.streams.room import formation_tokens, room_for_order


@dataclass(frozen=True, slots=True)
class OrderRoom:
    """One arm's room for order, all counts estimates."""

    arm: str
    rows_per_window: float  # of the synthetic stream's rows
    windows_per_megadoc: float  # tokens of a document with its siblings over those of a window
    #: `num_steps`, `train_tokens`: of one run; None where it is done.
    num_steps: int | None
    train_tokens: int | None
    #: training tokens after which in-context copying appears at a rate of 2.5e-4; an order of magnitude
    #: (arXiv:2511.16893).
    formation_tokens: float


def order_room(experiment: Experiment, lines: Iterable[PlanLine], sizes: CorpusSizes) -> tuple[OrderRoom, ...]:
    """One entry per arm with siblings that are generated, in the recipe's order.

    Args:
        experiment: its runs; an arm's first one stands for it.
        lines: of the plan: the steps and tokens of runs to do.
    """
    priced = {line.fingerprint: line for line in lines}
    rooms: dict[str, OrderRoom] = {}
    for run in experiment.runs:
        recipe = run.arm.recipe
        kind = sibling_kind(recipe)
        if kind is None or run.arm.name in rooms or is_published(recipe, kind):
            continue
        task = task_of(kind)
        generations = recipe.stream.num_generations or asked_task(recipe.generate, task).num_generations
        document = sizes.train_tokens(1) / max(1, sizes.facts.num_train_1x)
        megadoc = document + generations * reply_tokens(recipe, task)
        length, batch = recipe.train.context_length, recipe.train.batch_size
        line = priced.get(run.train.fingerprint)
        rooms[run.arm.name] = OrderRoom(
            run.arm.name,
            num_steps=line.num_steps if line else None,
            train_tokens=line.num_tokens if line else None,
            formation_tokens=formation_tokens(batch, length),
            **room_for_order(length, megadoc / (generations + 1), megadoc),
        )
    return tuple(rooms.values())
