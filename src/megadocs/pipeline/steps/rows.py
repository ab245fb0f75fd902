"""The steps that make rows: generation, and the rows of each kind that an arm's stream orders."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from megadocs.errors import RecipeError
from megadocs.generate import engine_info
from megadocs.generate.engines import engine_code
from megadocs.generate.plan import build_templates
from megadocs.kinds import (
    REAL,
    SAMPLE,
    codes_of,
    engine_spec,
    find_ordering,
    ordering_names,
    ordering_spec,
    row_kind,
    task_kind,
)
from megadocs.pipeline.steps.distillation import sample_section, sample_step
from megadocs.pipeline.steps.published import is_published, published_generations, published_rows_step
from megadocs.pipeline.steps.step import Step
from megadocs.recipe import Recipe
from megadocs.recipe.generation import GenerateConfig
from megadocs.recipe.streams import ExtraStream, StreamConfig
from megadocs.streams import required_kinds, synthetic_parts

#: Of where prompts cut documents, for the tasks that do. 2: between characters as a reader sees them.
_CUTS_VERSION = 2


def generate_step(
    config: GenerateConfig, task: str, num_generations: int, corpus: Step, of: Literal["train", "probe"] = "train"
) -> Step:
    """Write G generations of one task for every 1x training document, or probe document; the ledger is the task's."""
    engine = config.engine
    works_by = engine_spec(engine.kind).works_by
    local = works_by == "model_file"
    sections = {
        "task": task,
        "num_generations": num_generations,
        "requests": [template.digest for template in build_templates(config, task, engine_info(engine))],
        "gates": config.gates,
        "long_documents": config.long_documents,
        "context_tokens": engine.context_tokens,
        "split_tokenizer": config.split_tokenizer,
        "max_attempts": config.max_attempts,
        **({} if of == "train" else {"documents": of}),
        **({} if task_kind(task).cut is None else {"cuts": _CUTS_VERSION}),
    }
    return Step.of(
        "generate",
        f"generate {task} G={num_generations}" + ("" if of == "train" else f" of {of} documents"),
        sections,
        {"corpus": corpus},
        facts={"generate": config},
        settings=own_code_settings(codes_of(task=task) | engine_code(engine)),
        slots=engine.num_servers * engine.num_threads if local and engine.num_threads else None if local else 1,
        exclusive="engine" if works_by == "program" else f"ledger {task}",
    )


def real_rows_step(corpus: Step, tokenizer: Step) -> Step:
    """Tokenise every training document, once."""
    return Step.of("rows", f"rows {REAL}", {"kind": REAL}, {"corpus": corpus, "tokenizer": tokenizer})


def synthetic_rows_step(kind: str, num_generations: int, recipe: Recipe, corpus: Step, tokenizer: Step) -> Step:
    """Tokenise the rows of one kind: the first G rephrases, say, or the documents stretched by G thoughts."""
    generations = generate_step(recipe.generate, task_of(kind), num_generations, corpus)
    config: dict[str, Any] = {"kind": kind, "num_generations": num_generations}
    codes = codes_of(row=kind)
    if codes:
        config["code"] = codes
    if row_kind(kind).is_stretched:
        config |= {"think_open": recipe.stream.think_open, "think_close": recipe.stream.think_close}
    inputs = {"corpus": corpus, "tokenizer": tokenizer, "generations": generations}
    return Step.of("rows", f"rows {kind} G={num_generations}", config, inputs, settings=own_code_settings(codes))


def own_code_settings(codes: Mapping[str, str]) -> dict[str, Any]:
    """What a worker has to load before it does a step: name -> digest of code that the person allowed."""
    return {"code": dict(codes)} if codes else {}


def arm_codes(recipe: Recipe) -> dict[str, str]:
    """Name -> digest of a user's own code that an arm's streams and rows depend on."""
    codes: dict[str, str] = {}
    for part in synthetic_parts(recipe.stream, recipe.mixture):
        codes |= codes_of(ordering=part.ordering)
        for kind in find_ordering(part.ordering).rows(part.real_document):
            codes |= codes_of(row=kind)
    return codes


def task_of(kind: str) -> str:
    """The generation task that rows of this kind are made of."""
    task = row_kind(kind).task
    assert task is not None
    return task


def sampled_rows_step(
    kind: str, recipe: Recipe, wanted: int | None, teachers: tuple[Step, ...], tokenizer: Step
) -> Step:
    """Tokenise the first so many samples of the teachers (None: all that are drawn)."""
    available = sample_section(recipe).num_samples
    if wanted is not None and wanted > available:
        raise RecipeError(
            f"{wanted} samples asked for, {available} are drawn",
            where="stream.num_generations",
            remedy=f"raise generate.sample.num_samples to {wanted}; only the missing ones are drawn",
        )
    samples = sample_step(recipe, wanted or available, teachers, tokenizer)
    config = {"kind": kind, "num_generations": wanted or available}
    inputs = {"tokenizer": tokenizer, "generations": samples}
    return Step.of("rows", f"rows {kind} N={wanted or available}", config, inputs)


def needs_samples(recipe: Recipe) -> bool:
    """Whether an arm reads samples of a teacher."""
    needed = required_kinds(recipe.stream, recipe.mixture)
    return any(row_kind(kind).task == SAMPLE and not is_published(recipe, kind) for kind in needed)


def arm_rows(recipe: Recipe, corpus: Step, tokenizer: Step, teachers: tuple[Step, ...] = ()) -> dict[str, Step]:
    """The rows that one arm reads: role -> step. `teachers` are the train steps whose samples it may read."""
    steps: dict[str, Step] = {}
    if REAL in required_kinds(recipe.stream, recipe.mixture):
        steps[f"rows {REAL}"] = real_rows_step(corpus, tokenizer)
    for part in synthetic_parts(recipe.stream, recipe.mixture):
        kinds = find_ordering(part.ordering).rows(part.real_document)
        for kind in kinds:
            if kind == REAL:
                continue
            if is_published(recipe, kind):
                step = published_rows_step(kind, wanted_generations(part, kind, kinds), recipe, corpus, tokenizer)
                steps[f"rows {step.config['dataset_name']} {kind}"] = step
                continue
            if task_of(kind) == SAMPLE:
                step = sampled_rows_step(kind, recipe, part.num_generations, teachers, tokenizer)
                steps[f"rows {kind} {step.config['num_generations']}"] = step
                continue
            num_generations = checked_generations(recipe, task_of(kind), wanted_generations(part, kind, kinds))
            role = f"rows {kind} {num_generations}"
            steps[role] = synthetic_rows_step(kind, num_generations, recipe, corpus, tokenizer)
    return steps


def without_custom_orderings(recipe: Recipe) -> Recipe:
    """The recipe for steps that need no ordering (corpus, generation): a user's own ones stand for all that is written.

    Their code says which rows they read, and is not loaded for this; the built-in ordering that reads most of what the
    recipe generates takes their place, so that it is generated. The other steps are not the recipe's own.
    """
    tasks_read = {
        name: {row_kind(kind).task for kind in ordering_spec(name).kinds} - {None} for name in ordering_names()
    }
    serving = [name for name, tasks in tasks_read.items() if tasks <= set(recipe.generate.tasks)]
    stand_in = max(serving, key=lambda name: len(tasks_read[name]))

    def replaced(value: Any) -> Any:
        if isinstance(value, str) and ":" in value:
            return stand_in
        return value

    def changed(stream: Mapping[str, Any], ordering: str, extra: str) -> dict[str, Any]:
        parts = [{**dict(part), "ordering": replaced(dict(part)["ordering"])} for part in stream.get(extra, ())]
        found = {ordering: replaced(stream[ordering])} if ordering in stream else {}
        return {**stream, **found, **({extra: parts} if extra in stream else {})}

    own = recipe.stream.model_dump(mode="python")
    stream = StreamConfig.model_validate(changed(own, "ordering", "extra"))
    arms = {name: changed(arm, "stream.ordering", "stream.extra") for name, arm in recipe.arms.items()}
    return recipe.model_copy(update={"stream": stream, "arms": arms})


def wanted_generations(part: ExtraStream, kind: str, kinds: Sequence[str]) -> int | None:
    """The G that a stream names for rows of one kind; None: as many as there are."""
    if row_kind(kind).is_sampled:
        return part.num_generations
    has_samples = any(row_kind(other).is_sampled for other in kinds)
    return part.num_thoughts or (None if has_samples else part.num_generations)


def checked_generations(recipe: Recipe, task: str, wanted: int | None) -> int:
    """The G of one task that a stream uses: its own, or as many as are generated."""
    asked = recipe.generate.task(task)
    if asked is None:
        raise RecipeError(
            f"the ordering {recipe.stream.ordering!r} needs the task {task!r}, which the recipe does not generate",
            where=f"generate.{task}",
            remedy=f"add a section generate.{task}",
        )
    if wanted is not None and wanted > asked.num_generations:
        raise RecipeError(
            f"{wanted} generations asked for, {asked.num_generations} are generated",
            where="stream.num_generations",
            remedy=f"raise generate.{task}.num_generations to {wanted}; only the missing ones are written",
        )
    return wanted or asked.num_generations


def with_generations(recipe: Recipe) -> StreamConfig:
    """The stream with its G written out: G = 2 of 4 generated is the same run as G = 2 of 2."""
    stream = recipe.stream
    if not synthetic_parts(stream, recipe.mixture) or stream.ordering not in ordering_names():
        return stream
    kind = find_ordering(stream.ordering).kinds[0]
    if is_published(recipe, kind):
        num_generations = published_generations(recipe, kind, stream.num_generations)
        return stream.model_copy(update={"num_generations": num_generations})
    task = row_kind(kind).task
    if task is None or task == SAMPLE:
        return stream
    return stream.model_copy(update={"num_generations": checked_generations(recipe, task, stream.num_generations)})
