"""`megadocs evaluate`: a recipe up to its scores, or any model (or ensemble) on the same sets and benchmarks."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from megadocs.cli.arguments import RunOptions, default_workspace, takes_run_options
from megadocs.cli.console import mode_text, print_json, say
from megadocs.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from megadocs.evaluate.benchmarks.tasks import Benchmark

_Recipe = Annotated[Path | None, typer.Argument(help="Recipe file (YAML).", metavar="[RECIPE]", show_default=False)]
_Model = Annotated[
    list[str] | None,
    typer.Option("--model", "-m", help="Hugging Face folder, train/<fingerprint>, or hub name; several: an ensemble."),
]
_RecipeOption = Annotated[
    Path | None, typer.Option("--recipe", help="With --model: the recipe whose sets are scored.", show_default=False)
]
_Set = Annotated[
    list[str] | None,
    typer.Option("--set", help="With --model: NAME=SOURCE, a set of documents.", metavar="NAME=SOURCE"),
]
_Benchmarks = Annotated[
    str | None, typer.Option("--benchmarks", help="With --model: piqa,sciq,arc_easy,...", metavar="TASK,TASK")
]
_BenchmarkData = Annotated[
    list[str] | None,
    typer.Option("--benchmark-data", help="TASK=SOURCE: a file or folder, or hub.", metavar="TASK=SOURCE"),
]
_Items = Annotated[
    int | None, typer.Option("--benchmark-items", min=1, help="Only the first so many items of each benchmark.")
]
_TaskFolders = Annotated[
    list[Path] | None,
    typer.Option("--task-folder", help="With --model: a folder of task files; they may run code.", metavar="DIR"),
]
_Fewshot = Annotated[int, typer.Option("--num-fewshot", min=0, help="With --model: examples before each prompt.")]
_Context = Annotated[int | None, typer.Option("--context-length", min=2, help="Tokens of a window.")]


@takes_run_options()
def evaluate(
    *,
    recipe: _Recipe = None,
    options: RunOptions,
    model: _Model = None,
    recipe_option: _RecipeOption = None,
    set_: _Set = None,
    benchmarks: _Benchmarks = None,
    benchmark_data: _BenchmarkData = None,
    benchmark_items: _Items = None,
    task_folder: _TaskFolders = None,
    num_fewshot: _Fewshot = 0,
    context_length: _Context = None,
    dtype: Annotated[
        Literal["float32", "bfloat16"] | None,
        typer.Option("--dtype", help="Compute type; default: as it was trained, float32 for models from elsewhere."),
    ] = None,
    device: Annotated[Literal["cpu", "cuda"], typer.Option("--device", help="Where models run.")] = "cpu",
    subsets: Annotated[
        Literal["prefixes", "all"], typer.Option("--subsets", help="Members averaged at each size.")
    ] = "prefixes",
) -> None:
    """Train and score every run and ensemble of RECIPE; or, with --model, score models that are there already.

    megadocs evaluate recipes/quickstart.yaml --workspace runs/quickstart

    megadocs evaluate --model FOLDER --recipe quickstart --benchmarks piqa,sciq
    """
    if not model:
        if recipe is None or recipe_option or set_ or benchmarks:
            raise UsageError(
                "name a RECIPE, or models with --model",
                remedy="megadocs evaluate RECIPE, or megadocs evaluate --model FOLDER --recipe RECIPE",
            )
        from megadocs.cli.run import run_and_print

        run_and_print(recipe, options, stage="evaluate")
        return
    result = score_models(
        model,
        recipe=recipe_option or recipe,
        overrides=options.overrides or (),
        sets=_named(set_ or (), "--set"),
        benchmarks=_benchmarks(benchmarks, benchmark_data or (), task_folder or (), num_fewshot, benchmark_items),
        workspace=options.workspace,
        options={"context_length": context_length, "subsets": subsets},
        loading={"dtype": dtype, "device": device},
    )
    if options.as_json:
        print_json(result)
    else:
        print_result(result)


def score_models(
    models: list[str],
    *,
    recipe: Path | None,
    overrides: Any,
    sets: dict[str, str],
    benchmarks: list[Benchmark],
    workspace: Path | None,
    options: dict[str, Any],
    loading: dict[str, Any],
) -> dict[str, Any]:
    """Score models on a recipe's sets, on sets of the command line and on benchmarks; JSON-ready.

    Raises:
        UsageError: nothing to score on.
        InputError: models, sets or their tokenizers do not fit.
    """
    from megadocs.evaluate.cache import ScoreCache
    from megadocs.pipeline.score_models import ContinuedScoring, load_members, set_of_source, sets_of_recipe
    from megadocs.recipe import load_recipe
    from megadocs.store.artifact import Workspace

    if recipe is None and not sets and not benchmarks:
        raise UsageError("nothing to score on", remedy="give --recipe RECIPE, --set NAME=SOURCE or --benchmarks piqa")
    root = workspace or (default_workspace(recipe) if recipe else None)
    chosen = {name: set_of_source(name, source) for name, source in sets.items()}
    if recipe is not None:
        assert root is not None
        loaded = load_recipe(recipe, overrides)
        own = sets_of_recipe(loaded, Workspace(root))
        if taken := own.keys() & chosen.keys():
            where = f"--set {min(taken)}={sets[min(taken)]}"
            raise UsageError("the recipe has a set of this name", where=where, remedy="name it otherwise")
        chosen = own | chosen
        options = {"stride": loaded.evaluate.stride, "batch_size": loaded.evaluate.batch_size} | options
        options["context_length"] = options["context_length"] or loaded.train.context_length
    cache = ScoreCache(root / "score_cache") if root else None
    scoring = ContinuedScoring(load_members(models, **loading), cache=cache, **options)
    losses = scoring.score_sets(chosen)
    return scoring.to_json(losses, scoring.score_benchmarks(benchmarks))


def print_result(result: dict[str, Any]) -> None:
    """Losses by set, mode, average and size, then accuracies."""
    for member in result["models"]:
        bos = "a BOS" if member["begins_with_bos"] else "no BOS"
        say(f"model {member['source']} (weights {member['weights'][:12]}, {member['dtype']}, {bos} before prompts)")
    for name, entry in result["losses"].items():
        for size in entry["sizes"]:
            if size["num_members"] == 1 and size["average"] == "probabilities":
                continue  # one model is the same under both averages
            of = "" if len(result["models"]) == 1 else f", {size['average']} of {size['num_members']}"
            bits = f", {float(entry['bits_per_byte']):.4f} bits per byte" if size is entry["sizes"][-1] else ""
            typer.echo(
                f"{mode_text(name)}{of}: {float(size['nats_per_token']):.4f} nats per token{bits} "
                f"({entry['num_documents']} documents, {entry['num_tokens']} targets)"
            )
    for row in result["benchmarks"]:
        size = len(row["average"]["members"])
        if size == 1 and row["average"]["kind"] == "probabilities":
            continue
        of = "" if len(result["models"]) == 1 else f", {row['average']['kind']} of {size}"
        typer.echo(f"{row['task']} ({_counts(row)}){of}: {_metrics(row)}")


def _counts(row: dict[str, Any]) -> str:
    """`test, 2,376 items`, and the prompts that did not fit: an accuracy over them is another one."""
    split = "" if row["split"] is None else f"{row['split']}, "
    cut = f", {row['num_truncated']} prompts cut to the context" if row["num_truncated"] else ""
    return f"{split}{row['num_items']} items{cut}"


def _metrics(row: dict[str, Any]) -> str:
    """Every metric with its standard error: `acc 0.516 +- 0.010, acc_norm 0.465 +- 0.010`."""
    parts = []
    for name in (key.removesuffix("_stderr") for key in row if key.endswith("_stderr")):
        value, error = row.get(name), row[f"{name}_stderr"]
        parts.append(
            f"{name} {'not a number' if value is None else f'{value:.3f}'}"
            + ("" if error is None else f" +- {error:.3f}")
        )
    return ", ".join(parts)


def _benchmarks(
    names: str | None, sources: Any, folders: Sequence[Path], num_fewshot: int, num_items: int | None
) -> list[Benchmark]:
    from megadocs.evaluate.benchmarks.tasks import find_benchmark

    where = _named(sources, "--benchmark-data")
    tasks = [name.strip() for name in (names or "").split(",") if name.strip()]
    if stray := sorted(where.keys() - set(tasks)):
        raise UsageError(f"--benchmark-data names {stray[0]!r}, which --benchmarks does not")
    options: dict[str, Any] = {"folders": folders, "num_fewshot": num_fewshot, "num_items": num_items}
    return [find_benchmark(task, source=where.get(task, "package"), **options) for task in tasks]


def _named(entries: Sequence[str], option: str) -> dict[str, str]:
    """`NAME=SOURCE` entries of an option; a name that comes twice would drop the first source in silence."""
    named: dict[str, str] = {}
    for entry in entries:
        name, separator, source = entry.partition("=")
        if not separator or not name or not source:
            raise UsageError(f"not NAME=SOURCE: {entry!r}", where=option, remedy=f"{option} mine=my_texts/")
        if name in named:
            raise UsageError(f"{name!r} is named twice", where=option, remedy="give every source a name of its own")
        named[name] = source
    return named
