"""Arguments and options that several verbs share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

RecipePath = Annotated[Path, typer.Argument(help="Recipe file (YAML).", metavar="RECIPE", show_default=False)]
Overrides = Annotated[
    list[str] | None,
    typer.Argument(help="Overrides, key.sub=value.", metavar="KEY.SUB=VALUE", show_default=False),
]
WorkspaceDir = Annotated[
    Path | None,
    typer.Option("--workspace", "-w", help="Directory of results; default runs/<recipe's name>.", show_default=False),
]
Jobs = Annotated[
    int | None,
    typer.Option("--jobs", "-j", min=1, help="Steps side by side; default one per core.", show_default=False),
]
ExecutorOption = Annotated[
    Literal["local", "ray"],
    typer.Option("--executor", help="Where steps run: processes of this machine, or workers of a Ray cluster."),
]
RayAddress = Annotated[
    str | None,
    typer.Option(
        "--ray-address",
        help="`auto`: the Ray cluster that runs here; `local`: one of its own; or host:port. Default: RAY_ADDRESS, "
        "else local.",
        metavar="ADDRESS",
        show_default=False,
    ),
]
AllowCode = Annotated[
    bool,
    typer.Option("--allow-code", help="Load the code that the recipe names: module:attribute orderings, task folders."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON on standard output.")]


def default_workspace(recipe: Path) -> Path:
    """`runs/<the recipe file's name>`."""
    return Path("runs") / recipe.stem
