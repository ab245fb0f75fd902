"""`megadocs status`: what is done, running and left in a workspace."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from megadocs.cli.arguments import AsJson
from megadocs.cli.console import print_json, printable


def register(app: typer.Typer) -> None:
    """Add the verb."""

    @app.command()
    def status(
        workspace: Annotated[Path, typer.Argument(help="A workspace.", metavar="DIR")], as_json: AsJson = False
    ) -> None:
        """Show what a workspace holds, what runs now, and what is left of its last recipe.

        megadocs status runs/quickstart
        """
        from megadocs.cli.plan import print_lines
        from megadocs.pipeline.status import read_status

        found = read_status(workspace)
        if as_json:
            print_json(found.to_json())
            return
        typer.echo("published: " + (", ".join(f"{n} {step}" for step, n in sorted(found.counts.items())) or "nothing"))
        for work in found.unfinished:
            state = "running" if work.is_running else "interrupted; the next run goes on with it"
            typer.echo(f"unfinished: {work.step} {work.fingerprint} ({state})")
        if found.plan is None:
            typer.echo(printable(f"plan: {found.plan_error}"))
        else:
            print_lines(found.plan)
