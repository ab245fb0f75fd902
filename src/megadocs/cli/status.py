"""`megadocs status`: what is done, running and left in a workspace."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from megadocs.cli.arguments import AsJson
from megadocs.cli.console import duration, print_json, printable


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
        print_json(found)
        return
    typer.echo("published: " + (", ".join(f"{n} {step}" for step, n in sorted(found.counts.items())) or "nothing"))
    for work in found.unfinished:
        state = "running" if work.is_running else "interrupted; the next run goes on with it"
        typer.echo(f"unfinished: {work.step} {work.fingerprint} ({state})")
    for line in search_lines(found.search) if found.search is not None else ():
        typer.echo(line)
    if found.plan is None:
        typer.echo(printable(f"plan: {found.plan_error}"))
    else:
        print_lines(found.plan)


def search_lines(search: dict[str, Any]) -> Iterator[str]:
    """The last search: what runs, how far each arm has come."""
    from megadocs.cli.search import claim
    from megadocs.cli.search_live import running_rows, setting_text

    state = search["ending"] if search["ending"] != "unfinished" else "running" if search["is_alive"] else "interrupted"
    use = search["utilisation"]
    busy = f"{use['busy_fraction']:.0%} of {use['num_slots']} slots busy"
    yield f"search {search['name']}: {state}, {duration(search['seconds'])}, {busy}"
    for arm in search["arms"]:
        certificate, cost = arm["certificate"], arm["cost"]
        best = (
            f", best {certificate['loss']:.4f} at {setting_text(certificate['setting'])}" if certificate["loss"] else ""
        )
        yield f"  {arm['arm']}: {cost['num_trials']} runs{best}; {claim(certificate)}"
    for cells in running_rows(search["running"]) if search["is_alive"] else ():
        yield "  running: " + ", ".join(cell for cell in cells if cell)
