"""`megadocs report`: the report of a recipe, or of everything that a workspace holds."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from megadocs.cli.arguments import RunOptions, takes_run_options

_RecipeOrDir = Annotated[
    Path, typer.Argument(help="Recipe file (YAML), or a workspace.", metavar="RECIPE|DIR", show_default=False)
]


@takes_run_options()
def report(
    recipe: _RecipeOrDir,
    options: RunOptions,
) -> None:
    """Bring RECIPE up to its report (the same as `run`), or report on all runs that the workspace DIR holds.

    megadocs report recipes/quickstart.yaml --workspace runs/quickstart

    megadocs report runs/paper
    """
    if recipe.is_dir():
        _report_workspace(recipe, allow_code=options.allow_code, as_json=options.as_json)
        return
    from megadocs.cli.run import run_and_print

    run_and_print(recipe, options, stage="report")


def _report_workspace(root: Path, *, allow_code: bool, as_json: bool) -> None:
    from megadocs.cli.console import print_json, say
    from megadocs.cli.progress import show_progress
    from megadocs.pipeline.run import raise_failure
    from megadocs.pipeline.workspace_report import report_workspace
    from megadocs.store.files import read_json

    outcome = report_workspace(root, show=show_progress, allow_code=allow_code)
    raise_failure(outcome)
    if outcome.interrupted_by:
        raise typer.Exit(128 + outcome.interrupted_by)
    assert outcome.report is not None and outcome.experiment is not None
    results = read_json(outcome.report.path / "results.json")
    for name, reason in outcome.experiment.left_out.items():
        say(f"{name} was left out: {reason}")
    for line in [*results["answer"], *results["warnings"]]:
        say(line)
    say(f"report: {root / 'report.html'}")
    if as_json:
        print_json(results)
