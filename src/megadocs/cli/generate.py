"""`megadocs generate run | status | retry | export | audit`: synthetic text, without training."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from megadocs.cli.arguments import RecipePath, RunOptions, default_workspace, open_recipe, takes_run_options
from megadocs.cli.console import count, print_json, progress_text, say
from megadocs.errors import IncompleteError, StoreError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from megadocs.generate import Accounting
    from megadocs.pipeline.generation import TaskStatus
    from megadocs.recipe import Recipe
    from megadocs.store.artifact import Workspace


@takes_run_options()
def run(recipe: RecipePath, options: RunOptions) -> None:
    """Write the generations of RECIPE that are missing from the workspace's ledger.

    megadocs generate run recipes/quickstart.yaml --workspace runs/quickstart
    """
    from megadocs.cli.run import run_and_print

    run_and_print(recipe, options, stage="generate")


@takes_run_options("jobs", "executor", "ray_address")
def status(recipe: RecipePath, options: RunOptions) -> None:
    """Print the accounting of every task: requested = ok + rejected + failed + skipped + pending.

    megadocs generate status recipes/quickstart.yaml --workspace runs/quickstart
    """
    from megadocs.pipeline.generation import iter_status

    states = list(iter_status(*_open(recipe, options)))
    if options.as_json:
        print_json([state.to_json() for state in states])
        return
    for state in states:
        for line in _status_lines(state):
            typer.echo(line)


def _status_lines(state: TaskStatus) -> Iterator[str]:
    """The accounting of a task, what came of its requests, and the run that writes now or wrote last."""
    from megadocs.generate.progress import progress_event

    accounting = state.accounting
    yield (
        f"{state.task}: {accounting.requested} requested = {accounting.ok} ok + {accounting.rejected} rejected + "
        f"{accounting.failed} failed + {accounting.skipped} skipped + {accounting.pending} pending"
    )
    cached = f" ({accounting.cached_tokens / accounting.prompt_tokens:.0%} cached)" if accounting.prompt_tokens else ""
    tokens = f"{count(accounting.prompt_tokens)} prompt tokens{cached}, {count(accounting.new_tokens)} new tokens"
    yield (
        f"  {state.num_documents} documents; {tokens}" if state.task != "sample" else f"  without a document; {tokens}"
    )
    for title, counts in (("errors", accounting.errors), ("flags", accounting.flags)):
        if counts:
            yield f"  {title}: " + ", ".join(f"{name} {number}" for name, number in counts.items())
    for reason, number in state.reasons.items():
        yield f"    {number} x {reason}"
    if state.live is not None:
        when = "running now" if state.live.is_running else "last run"
        yield f"  {when}: {progress_text(progress_event(state.live.progress))}"


@takes_run_options("jobs")
def retry(
    recipe: RecipePath,
    options: RunOptions,
    only: Annotated[
        list[str] | None,
        typer.Option(
            "--only",
            metavar="CLASS",
            help="failed, rejected, a class of error (timeout) or a flag (empty); may be given more than once. "
            "Default: failed and rejected.",
        ),
    ] = None,
) -> None:
    """Ask again for failed and rejected generations, with fresh seeds.

    What was built without them moves to superseded/ and is made anew by the next run.

    megadocs generate retry recipes/quickstart.yaml --only failed
    """
    from functools import partial

    from megadocs.generate import GenerationProgress
    from megadocs.generate.engines import build_engine
    from megadocs.generate.progress import progress_event
    from megadocs.pipeline.cluster.ray_cluster import build_cluster_engine
    from megadocs.pipeline.execute.scheduler import Interrupt
    from megadocs.pipeline.generation import iter_status, retry_generations

    def show(progress: GenerationProgress) -> None:
        say(progress_text(progress_event(progress)))

    chosen = _checked_classes(only)
    loaded, opened = _open(recipe, options)
    engine = loaded.generate.engine
    build = (
        partial(build_cluster_engine, engine, options.ray_address)
        if options.executor == "ray"
        else partial(build_engine, engine, opened.root / "logs")
    )
    with Interrupt() as interrupt:
        accounting = retry_generations(loaded, opened, chosen, show, lambda: interrupt.count > 0, build)
    if options.as_json:
        print_json({task: entry.to_json() for task, entry in accounting.items()})
    if not accounting:
        say(f"no generation is {' or '.join(sorted(chosen))}")
    elif not interrupt.count:
        say("`megadocs run` with the same recipe makes what is built on them anew")
    if interrupt.count:
        raise typer.Exit(128 + interrupt.signal)
    missing = False
    for state in iter_status(loaded, opened):
        say(f"{state.task}: {state.accounting.ok} ok of {state.accounting.requested}")
        missing = _explain(state.accounting) or missing
    if missing:
        raise typer.Exit(IncompleteError.exit_code)


def _checked_classes(only: list[str] | None) -> frozenset[str]:
    """The classes to ask for again; `UsageError` for one that there is not."""
    from megadocs.generate.accounting import OPENED_BY
    from megadocs.generate.records import ERROR_CODES, FLAG_BITS

    known = {"failed", "rejected", *ERROR_CODES, *FLAG_BITS} - {"too_long"}
    for name in only or ():
        if name in ("skipped", "too_long"):
            remedy = OPENED_BY["skipped"].removeprefix("skipped: ")
            raise UsageError("skipped generations were never asked for", where="--only", remedy=remedy)
        if name not in known:
            raise UsageError(f"no class {name!r}", where="--only", remedy=f"use one of {', '.join(sorted(known))}")
    return frozenset(only or ("failed", "rejected"))


def _explain(accounting: Accounting) -> bool:
    """Say what is missing and what opens it again; whether anything is."""
    if not accounting.missing:
        return False
    say(f"  {accounting.missing_text()}")
    for sentence in accounting.remedies():
        say(f"  {sentence}")
    return True


@takes_run_options("jobs", "executor", "ray_address")
def export(
    recipe: RecipePath,
    options: RunOptions,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Directory; default <workspace>/export.")
    ] = None,
) -> None:
    """Write every task's generations as Parquet, with their provenance; exit code 3 where some are missing.

    megadocs generate export recipes/quickstart.yaml --output texts/
    """
    from megadocs.generate.accounting import OPENED_BY
    from megadocs.pipeline.generation import export_all

    loaded, opened = _open(recipe, options)
    directory = output or opened.root / "export"
    try:
        counts = export_all(loaded, opened, directory)
    except StoreError as error:
        if output is None and str(error.where).startswith(str(directory)):  # somebody else's workspace, read-only media
            raise StoreError(error.what, where=error.where, remedy="name another folder with --output") from error
        raise
    if options.as_json:
        print_json(counts)
    missing = False
    for task, entry in counts.items():
        say(f"{directory / f'{task}.parquet'}: {entry['ok']} of {entry['requested']} generations with a text")
        for state in ("failed", "rejected", "skipped", "pending"):
            if entry[state]:
                missing = True
                say(f"  {entry[state]} {OPENED_BY[state]}")
    if missing:
        raise typer.Exit(IncompleteError.exit_code)


@takes_run_options("jobs", "executor", "ray_address")
def audit(recipe: RecipePath, options: RunOptions) -> None:
    """Look for held-out text in the synthetic text, copies of the source, loops, changes of language.

    megadocs generate audit recipes/quickstart.yaml --workspace runs/quickstart
    """
    from megadocs.pipeline.generation import audit_all

    loaded, opened = _open(recipe, options)
    found = audit_all(loaded, opened)
    if options.as_json:
        print_json(found)
        return
    for name, overlap in found["overlap"].items():
        typer.echo(f"{name}: " + ", ".join(f"{key} {value}" for key, value in overlap.items()))
    for task, facts in found["tasks"].items():
        typer.echo(f"{task}: " + ", ".join(f"{key} {value}" for key, value in facts.items() if key != "openings"))
    say(f"written to {opened.root / 'audit.json'}")


def _open(recipe: Path, options: RunOptions) -> tuple[Recipe, Workspace]:
    from megadocs.store.artifact import Workspace

    loaded = open_recipe(recipe, options.overrides, allow_code=options.allow_code)
    return loaded, Workspace(options.workspace or default_workspace(recipe))


generate = typer.Typer(help="Write and inspect synthetic text.", no_args_is_help=True, rich_markup_mode=None)
for command in (run, status, retry, export, audit):
    generate.command()(command)
