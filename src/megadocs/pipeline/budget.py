"""What fits into a budget of time: documents, generations, context, student and tuning of a person's own recipe.

    choice = choose_within("my_texts/", Path("runs/mine"), budget_seconds=3600)
    choice.overrides      # dotted key -> value, for the recipe
    choice.reasons        # dotted key -> the sentence that its comment says

The rules, in their order (docs/order.md, docs/search.md):

1. Every conclusion needs three seeds, two generations, the real-only curve, the control, seven trials an arm (the
   fewest that certify a setting), and a baseline of 100 updates (the quickstart's takes 190). A budget that this does
   not fit into is refused with the time that it needs.
2. Documents before generations: intervals are over documents. All that fit with two generations, halved until they do.
3. What is left buys generations (4, 8), then latent thoughts, then more trials.
4. Windows are as long as leaves 300 updates to the baseline, and hold at most seven rows, as the paper's do.
5. Student and batch follow the real tokens by the table in docs/search.md.

Runs are priced at the most passes that tuning may choose, so that the time is an upper one.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from megadocs.errors import UsageError
from megadocs.pipeline.price.lines import Plan
from megadocs.pipeline.price.plan import build_plan, plan_sizes
from megadocs.pipeline.tune.before_run import planned_search
from megadocs.pipeline.tune.price import price_search
from megadocs.pipeline.tune.student import corpus_tokens, student_for
from megadocs.recipe import Recipe, load_recipe

#: The fewest documents that `corpus.split: auto` divides.
_FEWEST_DOCUMENTS = 30
_GENERATIONS = (2, 4, 8)
_CONTEXTS = (256, 512, 1024)
_MAX_ROWS_PER_WINDOW, _FEWEST_UPDATES, _UPDATES_TO_CONCLUDE = 7.0, 300, 100
#: Training tokens after which copying formed in the controlled world, at a rate of 3e-3.
_COPYING_TOKENS = 1_000_000
#: Trials an arm: a certificate over three axes where the start is the optimum; `tune: auto`.
_FEWEST_TRIALS, _MOST_TRIALS = 7, 12
_SOURCE, _EPOCHS = "corpus.source", "train.real_epochs"
#: Rates of finished runs vary by so much from hour to hour; a plan is kept this far below the budget.
_MARGIN = 1.25
_SECONDS_PER_HOUR = 3600.0


@dataclass(frozen=True, slots=True)
class Choice:
    """What a budget buys."""

    overrides: dict[str, Any]  # dotted key -> value
    reasons: dict[str, str]  # dotted key -> why, one sentence each
    seconds: float  # upper estimate of tuning and runs
    has_thoughts: bool  # whether latent thoughts are written
    rates: str  # where the times come from (`Plan.rates`)


@dataclass(frozen=True, slots=True)
class _Size:
    """A candidate: so many documents and generations, with or without thoughts."""

    documents: int
    generations: int
    has_thoughts: bool = False


@dataclass(frozen=True, slots=True)
class _Priced:
    """A candidate with its settings and its price; `least` with the fewest trials, `most` with those of `auto`."""

    size: _Size
    overrides: dict[str, Any]
    plan: Plan
    num_tokens: float
    least: float
    most: float
    rows_per_window: float
    num_updates: int
    num_walked: int


def choose_within(source: str, root: Path, budget_seconds: float, num_slots: int | None = None) -> Choice:
    """The richest experiment that fits.

    Args:
        source: the person's documents, `corpus.source` of `recipes/own.yaml`.
        root: the workspace to be; finished work in it is not priced again.
        budget_seconds: wall time of tuning and runs, generation included.
        num_slots: steps side by side; None: one per core.

    Raises:
        UsageError: nothing that could conclude anything fits; it names the time that is needed.
        MegadocsError: the corpus cannot be read or divided.
    """
    num_documents = _count_documents(_load({_SOURCE: source}), root)
    chosen: _Priced | None = None
    smallest: _Priced | None = None
    for size in _sizes_by_documents(num_documents):
        priced = _price(source, root, size, num_slots)
        if smallest is not None and priced.num_updates < _UPDATES_TO_CONCLUDE:
            break
        smallest = priced
        if priced.least * _MARGIN <= budget_seconds:
            chosen = priced
            break
    assert smallest is not None
    if chosen is None:
        raise _too_small(smallest)
    if chosen.size.documents == num_documents:
        for size in _richer(num_documents):
            priced = _price(source, root, size, num_slots)
            if priced.least * _MARGIN > budget_seconds:
                break
            chosen = priced
    return _describe(chosen, num_documents, budget_seconds)


def _too_small(smallest: _Priced) -> UsageError:
    needed = smallest.least * _MARGIN
    return UsageError(
        f"cannot conclude at this budget: it needs {_time(needed)} for {smallest.size.documents} documents, two "
        f"generations, three seeds and {_FEWEST_TRIALS} trials an arm on {smallest.plan.num_slots} slots",
        where="--budget",
        remedy=f"give --budget {-(-int(needed) // 60)}m, or use a faster machine or server",
    )


def _count_documents(recipe: Recipe, root: Path) -> int:
    documents = plan_sizes(recipe, root).documents
    assert documents is not None  # a source that cannot be read has raised, for the recipe assumes no sizes
    held_out = len(documents.validation) + len(documents.test)
    return held_out + len(documents.train_multiple(documents.max_multiple))


def _sizes_by_documents(num_documents: int) -> Iterator[_Size]:
    """All documents, half of them, and so on, down to the fewest that can be divided."""
    number = num_documents
    while number > _FEWEST_DOCUMENTS:
        yield _Size(number, _GENERATIONS[0])
        number //= 2
    yield _Size(max(number, min(num_documents, _FEWEST_DOCUMENTS)), _GENERATIONS[0])


def _richer(num_documents: int) -> Iterator[_Size]:
    for generations in _GENERATIONS[1:]:
        yield _Size(num_documents, generations)
    yield _Size(num_documents, _GENERATIONS[-1], has_thoughts=True)


def _price(source: str, root: Path, size: _Size, num_slots: int | None) -> _Priced:
    """The candidate's settings by the rules, and its price."""
    overrides: dict[str, Any] = {
        _SOURCE: source,
        "corpus.limit": size.documents,
        "generate.rephrase.num_generations": size.generations,
    }
    sizes = plan_sizes(_load(overrides), root)
    assert sizes.documents is not None
    num_tokens = corpus_tokens(sizes.documents.train_multiple(1))
    student = student_for(num_tokens)
    overrides |= {f"model.{name}": value for name, value in student.model.items()}
    overrides["train.batch_size"] = student.batch_size
    context, rows, updates = _context(_load(overrides, size.has_thoughts), root, num_slots)
    overrides["train.context_length"] = context
    settled = _load(overrides, size.has_thoughts)
    assert settled.search is not None
    most_passes = max(settled.search.axes[_EPOCHS].values)
    untuned = _load(overrides | {_EPOCHS: most_passes, "tune": "off"}, size.has_thoughts)
    plan = build_plan(untuned, root, num_slots)
    search = planned_search(settled, sizes.facts.max_multiple)
    assert search.search is not None
    price = price_search(search, root, num_slots=num_slots)
    beside = plan.seconds - price.shared_seconds  # corpus, generation and rows are in both
    return _Priced(
        size=size,
        overrides=overrides,
        plan=plan,
        num_tokens=num_tokens,
        least=beside + price.least.seconds,
        most=beside + price.most.seconds,
        rows_per_window=rows,
        num_updates=updates,
        num_walked=len(search.search.arms or ()),
    )


def _context(recipe: Recipe, root: Path, num_slots: int | None) -> tuple[int, float, int]:
    """The context length by rule 4, the rows that a window then holds, and the baseline's updates."""
    plan = build_plan(recipe.model_copy(update={"tune": "off"}), root, num_slots)
    here = recipe.train.context_length
    rows = plan.order_room[0].rows_per_window / here
    updates = next(line.num_steps or 0 for line in plan.lines if line.kind == "train") * here
    fitting = [
        length for length in _CONTEXTS if length * rows <= _MAX_ROWS_PER_WINDOW and updates // length >= _FEWEST_UPDATES
    ]
    length = max(fitting, default=_CONTEXTS[0])
    return length, length * rows, updates // length


def _load(overrides: dict[str, Any], has_thoughts: bool = True) -> Recipe:
    """`recipes/own.yaml` with the overrides, and without latent thoughts where they are left out."""
    recipe = load_recipe("own", [f"{key}={json.dumps(value)}" for key, value in overrides.items()])
    if has_thoughts:
        return recipe
    arms = {name: arm for name, arm in recipe.arms.items() if arm.get("stream.ordering") != "latent_thoughts"}
    generate = recipe.generate.model_copy(update={"thought": None})
    return recipe.model_copy(update={"arms": arms, "generate": generate})


def _describe(chosen: _Priced, num_documents: int, budget_seconds: float) -> Choice:
    """The overrides with tuning's share of the budget, and a sentence for each."""
    runs = chosen.least - _tuning_seconds(chosen)
    hours = max((budget_seconds / _MARGIN - runs) / _SECONDS_PER_HOUR, 0.01)
    trials = _MOST_TRIALS if chosen.most * _MARGIN <= budget_seconds else _FEWEST_TRIALS
    overrides = chosen.overrides | {
        "tune": {"max_runs": trials * chosen.num_walked, "max_hours": float(f"{hours:.2g}")},
    }
    size = chosen.size
    beyond = "" if size.documents == num_documents else f" of {num_documents}; more do not fit into the budget"
    more = "more do not fit into the budget" if size.generations < _GENERATIONS[-1] else "results/small has as many"
    longer = (
        "longer ones would hold more than the paper's six or seven"
        if chosen.rows_per_window * 2 > _MAX_ROWS_PER_WINDOW
        else f"longer ones would leave the baseline fewer than {_FEWEST_UPDATES} updates"
    )
    thoughts = "also written" if size.has_thoughts else "left out: they do not fit into the budget"
    reasons = {
        "corpus.limit": f"{size.documents} documents after cutting{beyond}",
        "generate.rephrase.num_generations": f"{size.generations} rephrases of each document; {more}",
        "thoughts": f"Latent thoughts are {thoughts}",
        "arms": _order_reason(chosen),
        "model": f"For about {chosen.num_tokens:,.0f} real tokens (1x), by the table in docs/search.md",
        "train.context_length": (
            f"{chosen.rows_per_window:.1f} rows a window, {chosen.num_updates} updates of the baseline; {longer}"
        ),
        "tune": (
            f"{trials} trials an arm ({_FEWEST_TRIALS} are the fewest that certify a setting), in the hours that "
            "generation and the reported runs leave"
        ),
    }
    seconds = chosen.most if trials == _MOST_TRIALS else chosen.least
    return Choice(overrides, reasons, seconds * _MARGIN, size.has_thoughts, chosen.plan.rates)


def _order_reason(chosen: _Priced) -> str:
    """What the gate will probably say of the order of rows (docs/order.md, sections 2 and 4)."""
    tokens = next((room.train_tokens or 0 for room in chosen.plan.order_room), 0)
    if tokens < _COPYING_TOKENS:
        return (
            f"The order of rows will hardly act: copying from the context forms after about a million tokens, and a "
            f"synthetic arm trains on up to {tokens:,}; expect `cannot` from the gate (docs/order.md)"
        )
    return (
        f"The order of rows can act: a synthetic arm trains on up to {tokens:,} tokens; the gate says (docs/order.md)"
    )


def _tuning_seconds(chosen: _Priced) -> float:
    return chosen.least - chosen.plan.seconds


def _time(seconds: float) -> str:
    hours = seconds / _SECONDS_PER_HOUR
    return f"about {seconds / 60:.0f} minutes" if hours < 2 else f"about {hours:.1f} hours"
