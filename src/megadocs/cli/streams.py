"""`megadocs streams show`: what stands next to what in each arm's streams."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from megadocs.cli.arguments import AllowCode, AsJson, Overrides, RecipePath, WorkspaceDir, default_workspace
from megadocs.cli.console import print_json, printable

if TYPE_CHECKING:
    from megadocs.pipeline.inspect_streams import ShownStream


def register(app: typer.Typer) -> None:
    """Add the verb."""
    streams = typer.Typer(help="Look at token streams.", no_args_is_help=True, rich_markup_mode=None)
    app.add_typer(streams, name="streams")

    @streams.callback()
    def _group() -> None:
        """Look at token streams."""

    @streams.command()
    def show(
        recipe: RecipePath,
        overrides: Overrides = None,
        workspace: WorkspaceDir = None,
        arm: Annotated[str | None, typer.Option("--arm", help="Only this arm.", show_default=False)] = None,
        window: Annotated[int, typer.Option("--window", min=0, help="Which window to print.")] = 0,
        allow_code: AllowCode = False,
        as_json: AsJson = False,
    ) -> None:
        """Print tokens, rows, windows and sharing statistics of each stream of RECIPE, and a sample window.

        megadocs streams show recipes/quickstart.yaml --workspace runs/quickstart --arm stitched
        """
        from dataclasses import asdict

        from megadocs.errors import InputError
        from megadocs.pipeline.experiment import open_experiment
        from megadocs.pipeline.inspect_streams import iter_streams
        from megadocs.recipe import load_recipe
        from megadocs.store.artifact import Workspace
        from megadocs.streams import render_plain

        root = workspace or default_workspace(recipe)
        experiment, _ = open_experiment(load_recipe(recipe, overrides or ()), Workspace(root), allow_code=allow_code)
        if experiment is None:
            raise InputError("the corpus is not there yet", where=str(root), remedy="run `megadocs rows` first")
        shown = list(iter_streams(experiment, Workspace(root), arm=arm, window=window, allow_code=allow_code))
        if as_json:
            print_json([asdict(stream) for stream in shown])
            return
        for stream in shown:
            if sys.stdout.isatty():
                _print_rich(stream)
            else:
                typer.echo(f"== {stream.arm}\n{printable(render_plain(stream.facts, stream.pieces))}\n")


def _print_rich(stream: ShownStream) -> None:
    from rich.console import Console

    from megadocs.streams import render_rich

    console = Console()
    console.rule(stream.arm)
    console.print(render_rich(stream.facts, stream.pieces))
