"""The steps that make rows: generation, and the rows of each kind that an arm's stream orders."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from megadocs.errors import RecipeError
from megadocs.generate import engine_info
from megadocs.generate.plan import Task, build_templates
from megadocs.pipeline.steps.distillation import sample_section, sample_step
from megadocs.pipeline.steps.published import is_published, published_generations, published_rows_step
from megadocs.pipeline.steps.step import Step
from megadocs.recipe import Recipe
from megadocs.recipe.generation import GenerateConfig
from megadocs.recipe.streams import ExtraStream, StreamConfig
from megadocs.streams import ORDERING_NAMES, find_ordering, required_kinds, synthetic_parts

#: Rows of this kind are built from this generation task.
TASK_OF_KIND: Mapping[str, Task] = {
    "rephrase": "rephrase",
    "latent_thoughts": "thought",
    "thoughts_appended": "thought",
}


def generate_step(config: GenerateConfig, task: Task, num_generations: int, corpus: Step) -> Step:
    """Write G generations of one task for every 1x training document. Steps of one task share its ledger."""
    engine = config.engine
    local = engine.kind == "llamacpp"
    sections = {
        "task": task,
        "num_generations": num_generations,
        "requests": [template.digest for template in build_templates(config, task, engine_info(engine))],
        "gates": config.gates,
        "long_documents": config.long_documents,
        "context_tokens": engine.context_tokens,
        "split_tokenizer": config.split_tokenizer,
        "max_attempts": config.max_attempts,
    }
    return Step.of(
        "generate",
        f"generate {task} G={num_generations}",
        sections,
        {"corpus": corpus},
        facts={"generate": config},
        slots=engine.num_servers * engine.num_threads if local and engine.num_threads else None if local else 1,
        exclusive="engine" if engine.kind == "vllm" else f"ledger {task}",
    )


def real_rows_step(corpus: Step, tokenizer: Step) -> Step:
    """Tokenise every training document, once."""
    return Step.of("rows", "rows real", {"kind": "real"}, {"corpus": corpus, "tokenizer": tokenizer})


def synthetic_rows_step(kind: str, num_generations: int, recipe: Recipe, corpus: Step, tokenizer: Step) -> Step:
    """Tokenise the rows of one kind: the first G rephrases, or the documents stretched by G thoughts."""
    generations = generate_step(recipe.generate, TASK_OF_KIND[kind], num_generations, corpus)
    config: dict[str, Any] = {"kind": kind, "num_generations": num_generations}
    if kind != "rephrase":
        config |= {"think_open": recipe.stream.think_open, "think_close": recipe.stream.think_close}
    inputs = {"corpus": corpus, "tokenizer": tokenizer, "generations": generations}
    return Step.of("rows", f"rows {kind} G={num_generations}", config, inputs)


def sampled_rows_step(recipe: Recipe, wanted: int | None, teachers: tuple[Step, ...], tokenizer: Step) -> Step:
    """Tokenise the first so many samples of the teachers (None: all that are drawn)."""
    available = sample_section(recipe).num_samples
    if wanted is not None and wanted > available:
        raise RecipeError(
            f"{wanted} samples asked for, {available} are drawn",
            where="stream.num_generations",
            remedy=f"raise generate.sample.num_samples to {wanted}; only the missing ones are drawn",
        )
    samples = sample_step(recipe, wanted or available, teachers, tokenizer)
    config = {"kind": "self_distilled", "num_generations": wanted or available}
    inputs = {"tokenizer": tokenizer, "generations": samples}
    return Step.of("rows", f"rows self_distilled N={wanted or available}", config, inputs)


def needs_samples(recipe: Recipe, *, allow_code: bool) -> bool:
    """Whether an arm reads samples of a teacher."""
    needed = required_kinds(recipe.stream, recipe.mixture, allow_code=allow_code)
    return "self_distilled" in needed and not is_published(recipe, "self_distilled")


def arm_rows(
    recipe: Recipe, corpus: Step, tokenizer: Step, teachers: tuple[Step, ...] = (), *, allow_code: bool
) -> dict[str, Step]:
    """The rows that one arm reads: role -> step. `teachers` are the train steps whose samples it may read."""
    steps: dict[str, Step] = {}
    if "real" in required_kinds(recipe.stream, recipe.mixture, allow_code=allow_code):
        steps["rows real"] = real_rows_step(corpus, tokenizer)
    for part in synthetic_parts(recipe.stream, recipe.mixture):
        kinds = find_ordering(part.ordering, real_document=part.real_document, allow_code=allow_code).kinds
        for kind in kinds:
            if kind == "real":
                continue
            if is_published(recipe, kind):
                step = published_rows_step(kind, wanted_generations(part, kind, kinds), recipe, corpus, tokenizer)
                steps[f"rows {step.config['dataset_name']} {kind}"] = step
                continue
            if kind == "self_distilled":
                step = sampled_rows_step(recipe, part.num_generations, teachers, tokenizer)
                steps[f"rows self_distilled {step.config['num_generations']}"] = step
                continue
            if kind not in TASK_OF_KIND:
                raise RecipeError(
                    f"rows of the kind {kind!r} cannot be made from a recipe yet",
                    where="stream.ordering",
                    remedy=f"choose an ordering over {', '.join(TASK_OF_KIND)}",
                )
            num_generations = checked_generations(recipe, TASK_OF_KIND[kind], wanted_generations(part, kind, kinds))
            role = f"rows {kind} {num_generations}"
            steps[role] = synthetic_rows_step(kind, num_generations, recipe, corpus, tokenizer)
    return steps


def wanted_generations(part: ExtraStream, kind: str, kinds: Sequence[str]) -> int | None:
    """The G that a stream names for rows of one kind; None: as many as there are."""
    if kind in ("rephrase", "self_distilled"):
        return part.num_generations
    return part.num_thoughts or (None if "rephrase" in kinds else part.num_generations)


def checked_generations(recipe: Recipe, task: Task, wanted: int | None) -> int:
    """The G of one task that a stream uses: its own, or as many as are generated."""
    section = recipe.generate.rephrase if task == "rephrase" else recipe.generate.thought
    if section is None:
        raise RecipeError(
            f"the ordering {recipe.stream.ordering!r} needs the task {task!r}, which the recipe does not generate",
            where=f"generate.{task}",
            remedy=f"add a section generate.{task}",
        )
    if wanted is not None and wanted > section.num_generations:
        raise RecipeError(
            f"{wanted} generations asked for, {section.num_generations} are generated",
            where="stream.num_generations",
            remedy=f"raise generate.{task}.num_generations to {wanted}; only the missing ones are written",
        )
    return wanted or section.num_generations


def with_generations(recipe: Recipe) -> StreamConfig:
    """The stream with its G written out: G = 2 of 4 generated is the same run as G = 2 of 2."""
    stream = recipe.stream
    if not synthetic_parts(stream, recipe.mixture) or stream.ordering not in ORDERING_NAMES:
        return stream
    kinds = find_ordering(stream.ordering, real_document=stream.real_document).kinds
    if is_published(recipe, kinds[0]):
        num_generations = published_generations(recipe, kinds[0], stream.num_generations)
        return stream.model_copy(update={"num_generations": num_generations})
    task = TASK_OF_KIND.get(kinds[0])
    if task is None:
        return stream
    return stream.model_copy(update={"num_generations": checked_generations(recipe, task, stream.num_generations)})


def with_num_generations(config: GenerateConfig, task: str, num_generations: int) -> GenerateConfig:
    """The configuration with this G for one task."""
    section = config.rephrase if task == "rephrase" else config.thought
    assert section is not None
    return config.model_copy(update={task: section.model_copy(update={"num_generations": num_generations})})
