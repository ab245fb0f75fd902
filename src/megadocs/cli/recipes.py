"""`megadocs recipes list | copy` and `megadocs demo`: the recipes that come with the package."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from megadocs.cli.arguments import AsJson, Jobs, RunOptions, WorkspaceDir
from megadocs.cli.console import print_json, say


def demo(workspace: WorkspaceDir = None, jobs: Jobs = None, as_json: AsJson = False) -> None:
    """Run the demo: 80 documents, a real instruct model, 21 small training runs, a report. No clone is needed.

    megadocs demo --workspace runs/quickstart
    """
    from megadocs.cli.run import run_and_print

    options = RunOptions(workspace=workspace, jobs=jobs, as_json=as_json)
    run_and_print(Path("quickstart"), options, stage="report")


def list_recipes(as_json: AsJson = False) -> None:
    """Print the names of the recipes and what each is for. A name stands wherever a verb takes RECIPE.

    megadocs recipes list
    """
    from megadocs.recipe import load_recipe, shipped_names

    described = {name: " ".join(load_recipe(name).description.split()) for name in shipped_names()}
    if as_json:
        print_json(described)
        return
    for name, description in described.items():
        typer.echo(f"{name}: {description}")


def copy(
    name: Annotated[str, typer.Argument(help="A name of `megadocs recipes list`.", metavar="NAME", show_default=False)],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="New file; default: here.", show_default=False)
    ] = None,
) -> None:
    """Copy a recipe of the package to edit it, and the recipe that it extends beside it. Nothing is replaced.

    megadocs recipes copy quickstart --output mine.yaml
    """
    from megadocs.errors import InputError
    from megadocs.recipe import base_name, shipped_path
    from megadocs.store.files import write_bytes_atomic

    source = shipped_path(name)
    target = output or Path(source.name)
    base = base_name(source)
    files = {target: source} | ({target.parent / base: source.parent / base} if base is not None else {})
    for path, origin in files.items():
        if path.exists() and path.read_bytes() != origin.read_bytes():
            raise InputError("there is another file of that name", where=str(path), remedy="choose one with --output")
    for path, origin in files.items():
        write_bytes_atomic(path, origin.read_bytes())
        say(f"{path}: written")


recipes = typer.Typer(help="The recipes of the package.", no_args_is_help=True, rich_markup_mode=None)
recipes.command("list")(list_recipes)
recipes.command()(copy)
