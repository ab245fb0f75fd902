"""`megadocs compare`: two runs, document by document."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from megadocs.cli.arguments import AsJson
from megadocs.cli.console import mode_text, print_json

_Run = Annotated[Path, typer.Argument(help="<workspace>/train/<fingerprint>.", metavar="RUN", show_default=False)]


def compare(first: _Run, second: _Run, as_json: AsJson = False) -> None:
    """Compare two evaluated runs on the same documents: paired differences with intervals, and what was set apart.

    megadocs compare runs/quickstart/train/ONE runs/quickstart/train/OTHER
    """
    from megadocs.analysis.compare import compare_runs
    from megadocs.pipeline.stages.run_records import open_run

    runs = open_run(first), open_run(second)
    result = compare_runs(runs[0].scores(), runs[1].scores(), (runs[0].facts(), runs[1].facts()))
    if as_json:
        print_json(result)
        return
    for row in result.sets:
        low, high = row.interval
        typer.echo(
            f"{row.set_name} ({mode_text(row.mode)}): {row.first:.4f} against {row.second:.4f} {row.unit}, "
            f"difference {row.difference:+.4f} [{low:+.4f}, {high:+.4f}], {row.num_documents} documents"
        )
    for name, (before, after) in {**result.settings, **result.facts}.items():
        typer.echo(f"{name}: {_said(before)} against {_said(after)}")
    for note in result.notes:
        typer.echo(note)


def _said(value: object) -> str:
    """A fact for people: six digits of a fraction, and a word where there is none."""
    return "none" if value is None else f"{value:.6g}" if isinstance(value, float) else str(value)
