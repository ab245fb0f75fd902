"""`megadocs streams show | export`: what stands next to what in each arm's streams, and files for other trainers."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from megadocs.cli.arguments import AllowCode, AsJson, Overrides, RecipePath, WorkspaceDir, default_workspace
from megadocs.cli.console import print_json, printable, say

if TYPE_CHECKING:
    from megadocs.pipeline.steps.experiment import Experiment
    from megadocs.pipeline.streams import ShownStream
    from megadocs.store.artifact import Workspace


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

    megadocs streams show recipes/quickstart.yaml --arm stitched
    """

    from megadocs.pipeline.streams import iter_streams
    from megadocs.streams import render_plain

    experiment, opened = _open(recipe, overrides, workspace, allow_code=allow_code)
    shown = list(iter_streams(experiment, opened, arm=arm, window=window))
    if as_json:
        print_json(shown)
        return
    for stream in shown:
        if sys.stdout.isatty():
            _print_rich(stream)
        else:
            typer.echo(f"== {stream.arm}\n{printable(render_plain(stream.facts, stream.pieces))}\n")


def export(
    recipe: RecipePath,
    arm: Annotated[str, typer.Option("--arm", help="The arm whose streams are written.", show_default=False)],
    output: Annotated[Path, typer.Option("--output", "-o", help="New or empty directory.", show_default=False)],
    overrides: Overrides = None,
    workspace: WorkspaceDir = None,
    formats: Annotated[
        list[str] | None, typer.Option("--format", help="megatron, memmap or parquet; default all.")
    ] = None,
    push: Annotated[
        str | None, typer.Option("--push", help="Upload each stream to owner/name-<stream> on the hub, private.")
    ] = None,
    allow_code: AllowCode = False,
    as_json: AsJson = False,
) -> None:
    """Write an arm's streams for other trainers: concatenate, then split; plain causal attention.

    megadocs streams export recipes/quickstart.yaml --arm stitched --output out/
    """
    from megadocs.pipeline.streams import export_streams
    from megadocs.rows.export import FORMATS
    from megadocs.rows.hub import push_export

    experiment, opened = _open(recipe, overrides, workspace, allow_code=allow_code)
    written = export_streams(experiment, opened, output, arm=arm, formats=formats or FORMATS)
    for name in written:
        say(f"{output / name.replace(':', '-')}: written")
        if push is not None:
            say(push_export(output / name.replace(":", "-"), f"{push}-{name.replace(':', '-')}"))
    if as_json:
        print_json(written)


def _open(
    recipe: Path, overrides: list[str] | None, workspace: Path | None, *, allow_code: bool
) -> tuple[Experiment, Workspace]:
    """The experiment and its workspace; `InputError` when the corpus is not there yet."""
    from megadocs.errors import InputError
    from megadocs.pipeline.steps.sources import open_experiment
    from megadocs.recipe import load_recipe
    from megadocs.store.artifact import Workspace

    opened = Workspace(workspace or default_workspace(recipe))
    experiment, _ = open_experiment(load_recipe(recipe, overrides or ()), opened, allow_code=allow_code)
    if experiment is None:
        raise InputError("the corpus is not there yet", where=str(opened.root), remedy="run `megadocs rows` first")
    return experiment, opened


def _print_rich(stream: ShownStream) -> None:
    from rich.console import Console

    from megadocs.streams import render_rich

    console = Console()
    console.rule(stream.arm)
    console.print(render_rich(stream.facts, stream.pieces))


streams = typer.Typer(help="Look at token streams and export them.", no_args_is_help=True, rich_markup_mode=None)
for command in (show, export):
    streams.command()(command)
