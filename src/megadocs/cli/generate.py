"""`megadocs generate run`: write the generations that the ledger lacks."""

from __future__ import annotations

import typer

from megadocs.cli.arguments import AsJson, Jobs, Overrides, RecipePath, WorkspaceDir


def register(app: typer.Typer) -> None:
    """Add the verbs."""
    generate = typer.Typer(help="Write and inspect synthetic text.", no_args_is_help=True, rich_markup_mode=None)
    app.add_typer(generate, name="generate")

    @generate.callback()
    def _group() -> None:
        """Write and inspect synthetic text."""

    @generate.command()
    def run(
        recipe: RecipePath,
        overrides: Overrides = None,
        workspace: WorkspaceDir = None,
        jobs: Jobs = None,
        as_json: AsJson = False,
    ) -> None:
        """Write the generations of RECIPE that are missing from the workspace's ledger.

        megadocs generate run recipes/quickstart.yaml --workspace runs/quickstart
        """
        from megadocs.cli.outcome import run_and_print

        run_and_print(recipe, overrides, workspace, stage="generate", jobs=jobs, as_json=as_json)
