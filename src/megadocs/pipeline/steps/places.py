"""Models, tokenizers and prompt styles that a recipe names: whether they are here, before anything is paid for.

    check_places(recipe)             # InputError: every path that leads nowhere, in one message
    unseen_names(recipe)             # what only the hub can know, in sentences for a plan
    fetch_named(recipe, build, workspace)   # a run asks the hub first, not after hours of generation

One rule for all of them. What is there is taken. What is written as a path (`./runs/model`, `~/model`, `a/b/c`,
`x.gguf`) and leads nowhere is refused. Any other name may be one of the hub (`runs/model` looks like it): a plan
downloads nothing and says so; a run fetches it at its start. Corpora, published datasets, additional sets and
benchmarks are read by their own steps, which come first; what a program such as vLLM reads may lie in its container or
on another node, and its start comes before its first request.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable

from megadocs.errors import InputError
from megadocs.kinds import engine_spec
from megadocs.model.pretrained import find_pretrained, local_model
from megadocs.pipeline.steps.experiment import Experiment
from megadocs.pipeline.steps.step import find_artifact
from megadocs.recipe import LoadedTokenizer, Recipe, build_arms
from megadocs.recipe.consent import EVERYTHING
from megadocs.recipe.paths import is_path, user_path
from megadocs.recipe.style_paths import is_style_path
from megadocs.recipe.wishes import Act
from megadocs.store.artifact import Workspace
from megadocs.text.sources import read_source
from megadocs.text.vocab_size import LLAMA_3_VOCAB_SIZE, read_vocab_size


def check_places(recipe: Recipe, acts: Collection[Act] = EVERYTHING) -> None:
    """Refuse a recipe that names a path at which nothing is.

    Args:
        acts: what will be done with it: generation needs no student, training no engine.

    Raises:
        InputError: names every such path with the keys that name it.
    """
    missing: dict[str, list[str]] = {}
    for key, source in _places(recipe, acts):
        if key not in missing.get(source, ()) and not user_path(source).exists():
            missing.setdefault(source, []).append(key)
    if not missing:
        return
    keys = [key for of_source in missing.values() for key in of_source]
    raise InputError(
        f"nothing is at {' or at '.join(missing)}",
        where=", ".join(keys),
        remedy="make or copy it there first (the comment at the head of the recipe may say how), or name another: "
        f"{keys[0].rpartition(' ')[2]}=PATH",
    )


def _places(recipe: Recipe, acts: Collection[Act]) -> Iterable[tuple[str, str]]:
    """(key, path) of whatever is written as a path."""
    for key, source in _names(recipe, acts):
        if is_path(source):
            yield key, source
    if "generate" in acts:
        for task in recipe.generate.tasks:
            asked = recipe.generate.task(task)
            for style in asked.styles if asked is not None else ():
                if is_style_path(style):
                    yield f"generate.{task}.style", style


def _names(recipe: Recipe, acts: Collection[Act]) -> Iterable[tuple[str, str]]:
    """(key, path or name) of models and tokenizers."""
    if "train" in acts:
        if recipe.tokenizer.kind == "load":
            yield "tokenizer.source", recipe.tokenizer.source
        yield from _students(recipe)
    if "generate" in acts and recipe.generate.tasks:
        if recipe.generate.split_tokenizer is not None:
            yield "generate.split_tokenizer", recipe.generate.split_tokenizer
        if engine_spec(recipe.generate.engine.kind).works_by == "model_file":
            yield "generate.engine.model", recipe.generate.engine.model


def _students(recipe: Recipe) -> Iterable[tuple[str, str]]:
    """(key, path or name) of the models that arms continue from."""
    for arm in build_arms(recipe):
        source = arm.recipe.model.init_from
        if source is not None:
            own = source != recipe.model.init_from
            yield (f"arms.{arm.name}: " if own else "") + "model.init_from", source


def unseen_names(recipe: Recipe) -> tuple[str, ...]:
    """A sentence for each student and tokenizer that is neither here nor in the hub's cache: its size is not known."""
    found: dict[str, list[str]] = {}
    for key, source in _students(recipe):
        if local_model(source) is None and key not in found.get(source, ()):
            found.setdefault(source, []).append(key)
    assumed = dict.fromkeys(found, f"a student of the preset {recipe.model.preset}, and may be far off")
    section = recipe.tokenizer
    if section.kind == "load" and not _is_known(section):
        found.setdefault(section.source, []).append("tokenizer.source")
        assumed.setdefault(section.source, f"a vocabulary of {LLAMA_3_VOCAB_SIZE:,}")
    return tuple(
        f"{', '.join(keys)}: there is no folder {source} here, and nothing of that name is in the hub's cache. If it "
        "is a folder, make or copy it first; if it is a name on the hub, `megadocs run` fetches it. Prices assume "
        f"{assumed[source]}"
        for source, keys in found.items()
    )


def _is_known(section: LoadedTokenizer) -> bool:
    """Whether a tokenizer is here or in the hub's cache."""
    return user_path(section.source).exists() or read_vocab_size(section.source, section.revision) is not None


def fetch_named(recipe: Recipe, build: Callable[[], Experiment], workspace: Workspace) -> None:
    """Fetch the models and the tokenizer that open steps need from the hub, into its cache.

    Args:
        build: makes the recipe's experiment; called only where the recipe names something that is not here.

    Raises:
        InputError: the hub has no such model or tokenizer, or cannot be reached.
    """
    if all(user_path(source).exists() for _, source in _names(recipe, {"train"})):
        return
    experiment = build()
    section = recipe.tokenizer
    if section.kind == "load" and find_artifact(experiment.tokenizer, workspace) is None:
        read_source(section.source, section.revision)
    for run in (*experiment.runs, *experiment.members):
        source = run.arm.recipe.model.init_from
        if source is not None and find_artifact(run.train, workspace) is None:
            find_pretrained(source)
