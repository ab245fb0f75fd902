"""`megadocs verify`: compare everything in a workspace with what was recorded when it was written."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from megadocs.cli.arguments import AsJson
from megadocs.cli.console import print_json, say


def verify(
    workspace: Annotated[Path, typer.Argument(help="A workspace.", metavar="DIR")], as_json: AsJson = False
) -> None:
    """Check every SHA-256 of a workspace: artifacts, token segments, the generation ledger, the report.

    megadocs verify runs/quickstart
    """
    from megadocs.pipeline.verify import verify_everything

    result = verify_everything(workspace)
    if as_json:
        print_json(
            {
                "num_files": result.num_files,
                "num_bytes": result.num_bytes,
                "problems": [{"path": problem.path, "what": problem.what} for problem in result.problems],
            }
        )
    for problem in result.problems:
        say(f"{problem.path}: {problem.what}")
    say(f"{result.num_files} files, {result.num_bytes / 1e6:.1f} MB checked, {len(result.problems)} problems")
    if result.problems:
        raise typer.Exit(1)
