"""`megadocs generate run | status | retry | export | audit`: synthetic text, apart from training."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from megadocs.cli.arguments import (
    AsJson,
    ExecutorOption,
    Jobs,
    Overrides,
    RayAddress,
    RecipePath,
    WorkspaceDir,
    default_workspace,
)
from megadocs.cli.console import count, print_json, progress_text, say
from megadocs.errors import IncompleteError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from megadocs.pipeline.generation import TaskStatus
    from megadocs.recipe import Recipe
    from megadocs.store.artifact import Workspace


def register(app: typer.Typer) -> None:
    """Add the verbs."""
    generate = typer.Typer(help="Write and inspect synthetic text.", no_args_is_help=True, rich_markup_mode=None)
    app.add_typer(generate, name="generate")

    @generate.callback()
    def _group() -> None:
        """Write and inspect synthetic text."""

    for command in (run, status, retry, export, audit):
        generate.command()(command)


def run(
    recipe: RecipePath,
    overrides: Overrides = None,
    workspace: WorkspaceDir = None,
    jobs: Jobs = None,
    executor: ExecutorOption = "local",
    ray_address: RayAddress = None,
    as_json: AsJson = False,
) -> None:
    """Write the generations of RECIPE that are missing from the workspace's ledger.

    megadocs generate run recipes/quickstart.yaml --workspace runs/quickstart
    """
    from megadocs.cli.outcome import run_and_print

    run_and_print(
        recipe,
        overrides,
        workspace,
        stage="generate",
        jobs=jobs,
        executor=executor,
        ray_address=ray_address,
        as_json=as_json,
    )


def status(
    recipe: RecipePath, overrides: Overrides = None, workspace: WorkspaceDir = None, as_json: AsJson = False
) -> None:
    """Print the books of every task: requested = ok + rejected + failed + skipped + pending.

    megadocs generate status recipes/quickstart.yaml --workspace runs/quickstart
    """
    from megadocs.pipeline.generation import iter_status

    states = list(iter_status(*_open(recipe, overrides, workspace)))
    if as_json:
        print_json([state.to_json() for state in states])
        return
    for state in states:
        for line in _status_lines(state):
            typer.echo(line)


def _status_lines(state: TaskStatus) -> Iterator[str]:
    """The books of a task, what came of its requests, and the run that writes now or wrote last."""
    from megadocs.generate.progress import progress_event

    books = state.books
    yield (
        f"{state.task}: {books.requested} requested = {books.ok} ok + {books.rejected} rejected + "
        f"{books.failed} failed + {books.skipped} skipped + {books.pending} pending"
    )
    cached = f" ({books.cached_tokens / books.prompt_tokens:.0%} cached)" if books.prompt_tokens else ""
    tokens = f"{count(books.prompt_tokens)} prompt tokens{cached}, {count(books.new_tokens)} new tokens"
    yield (
        f"  {state.num_documents} documents; {tokens}" if state.task != "sample" else f"  without a document; {tokens}"
    )
    for title, counts in (("errors", books.errors), ("flags", books.flags)):
        if counts:
            yield f"  {title}: " + ", ".join(f"{name} {number}" for name, number in counts.items())
    if state.live is not None:
        when = "running now" if state.live.is_running else "last run"
        yield f"  {when}: {progress_text(progress_event(state.live.progress))}"


def retry(
    recipe: RecipePath,
    overrides: Overrides = None,
    workspace: WorkspaceDir = None,
    executor: ExecutorOption = "local",
    ray_address: RayAddress = None,
    as_json: AsJson = False,
) -> None:
    """Try failed generations again; what was built without them moves to superseded/ and is made anew by the next run.

    megadocs generate retry recipes/quickstart.yaml --workspace runs/quickstart
    """
    from functools import partial

    from megadocs.generate import GenerationProgress
    from megadocs.generate.engines import build_engine
    from megadocs.generate.progress import progress_event
    from megadocs.pipeline.cluster.ray_cluster import build_cluster_engine
    from megadocs.pipeline.execute.scheduler import Interrupt
    from megadocs.pipeline.generation import retry_failed

    def show(progress: GenerationProgress) -> None:
        say(progress_text(progress_event(progress)))

    loaded, opened = _open(recipe, overrides, workspace)
    engine = loaded.generate.engine
    build = partial(build_cluster_engine, engine, ray_address) if executor == "ray" else partial(build_engine, engine)
    with Interrupt() as interrupt:
        books = retry_failed(loaded, opened, show, lambda: interrupt.count > 0, build)
    if as_json:
        print_json({task: entry.to_json() for task, entry in books.items()})
    for task, entry in books.items():
        say(f"{task}: {entry.ok} ok, {entry.failed} failed, {entry.pending} pending")
    if not books:
        say("no generation has failed")
    if interrupt.count:
        raise typer.Exit(128 + interrupt.signal)
    if any(entry.failed for entry in books.values()):
        raise typer.Exit(IncompleteError.exit_code)


def export(
    recipe: RecipePath,
    overrides: Overrides = None,
    workspace: WorkspaceDir = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Directory; default <workspace>/export.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Write every task's generations as Parquet, with their provenance; exit code 3 where some are missing or failed.

    megadocs generate export recipes/quickstart.yaml --workspace runs/quickstart --output texts/
    """
    from megadocs.pipeline.generation import export_all

    loaded, opened = _open(recipe, overrides, workspace)
    directory = output or opened.root / "export"
    counts = export_all(loaded, opened, directory)
    if as_json:
        print_json(counts)
    for task, entry in counts.items():
        say(f"{directory / f'{task}.parquet'}: {entry['exported']} of {entry['requested']} generations")
        if entry["pending"]:
            say(f"  {entry['pending']} without a readable record; `megadocs generate run` writes what is missing")
    if any(entry["pending"] or entry["failed"] for entry in counts.values()):
        raise typer.Exit(IncompleteError.exit_code)


def audit(
    recipe: RecipePath, overrides: Overrides = None, workspace: WorkspaceDir = None, as_json: AsJson = False
) -> None:
    """Look for held-out text in the synthetic text, copies of the source, loops, changes of language.

    megadocs generate audit recipes/quickstart.yaml --workspace runs/quickstart
    """
    from megadocs.pipeline.generation import audit_all

    loaded, opened = _open(recipe, overrides, workspace)
    found = audit_all(loaded, opened)
    if as_json:
        print_json(found)
        return
    for name, overlap in found["overlap"].items():
        typer.echo(f"{name}: " + ", ".join(f"{key} {value}" for key, value in overlap.items()))
    for task, facts in found["tasks"].items():
        typer.echo(f"{task}: " + ", ".join(f"{key} {value}" for key, value in facts.items() if key != "openings"))
    say(f"written to {opened.root / 'audit.json'}")


def _open(recipe: Path, overrides: list[str] | None, workspace: Path | None) -> tuple[Recipe, Workspace]:
    from megadocs.recipe import load_recipe
    from megadocs.store.artifact import Workspace

    return load_recipe(recipe, overrides or ()), Workspace(workspace or default_workspace(recipe))
