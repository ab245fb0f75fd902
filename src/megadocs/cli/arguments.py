"""Arguments and options that several verbs share; `RunOptions`: those of every verb that runs steps, as one value."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_type_hints

import typer

if TYPE_CHECKING:
    from megadocs.recipe import Recipe

#: What `megadocs init` calls the recipe that it writes into an experiment's folder.
OWN_RECIPE = "recipe.yaml"

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
    typer.Option(
        "--allow-code",
        help="Load the code that the recipe names: module:attribute kinds, orderings and engines, task folders.",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON on standard output.")]


def open_recipe(path: Path, overrides: list[str] | None, *, allow_code: bool) -> Recipe:
    """The recipe with its overrides; with `allow_code` everything that it names as module:attribute is loaded."""
    from megadocs.recipe import load_recipe, own_code_names

    recipe = load_recipe(path, overrides or ())
    if allow_code:
        from megadocs.kinds import load_code

        load_code(own_code_names(recipe), allow=True)
    return recipe


def default_workspace(recipe: Path) -> Path:
    """The folder that `megadocs init` wrote the recipe into; `runs/<the recipe file's name>` for any other."""
    return recipe.parent if recipe.name == OWN_RECIPE else Path("runs") / recipe.stem


@dataclass(frozen=True, slots=True)
class RunOptions:
    """What a verb that runs steps takes beside its recipe, in the order of `--help`; each is described above."""

    overrides: Overrides = None
    workspace: WorkspaceDir = None
    jobs: Jobs = None
    executor: ExecutorOption = "local"
    ray_address: RayAddress = None
    allow_code: AllowCode = False
    as_json: AsJson = False


def takes_run_options(*without: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Let the command line see the fields of `RunOptions` where a verb takes `options: RunOptions`.

    Args:
        without: fields that mean nothing to the verb.
    """

    def decorate(function: Callable[..., None]) -> Callable[..., None]:
        own, shared = get_type_hints(function, include_extras=True), get_type_hints(RunOptions, include_extras=True)
        given = {field.name: field.default for field in fields(RunOptions) if field.name not in without}
        parameters: list[inspect.Parameter] = []
        for parameter in inspect.signature(function).parameters.values():
            new = given if parameter.name == "options" else {parameter.name: parameter.default}
            hints = shared if parameter.name == "options" else own
            parameters += [
                inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=hints[name])
                for name, default in new.items()
            ]

        @functools.wraps(function)
        def verb(**values: Any) -> None:
            options = RunOptions(**{name: values.pop(name) for name in given})
            function(options=options, **values)

        verb.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
        verb.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        return verb

    return decorate
