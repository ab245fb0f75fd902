"""`megadocs init`: a recipe for one's own documents."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

import typer

from megadocs.cli.console import duration, say


def init(
    directory: Annotated[Path, typer.Argument(help="Folder of the experiment.", metavar="DIR", show_default=False)],
    source: Annotated[
        str,
        typer.Option(
            "--source",
            help="Your documents: a file, glob or folder of .txt, .jsonl[.gz|.zst] or .parquet, or hf://org/name.",
            show_default=False,
        ),
    ],
    budget: Annotated[
        str | None,
        typer.Option(
            "--budget",
            help="Time for tuning and runs, such as 45m, 1h or 1h30m: documents, generations, context, student "
            "and trials are chosen to fit. Default: the recipe as it is shipped, over all documents.",
            metavar="TIME",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Write DIR/recipe.yaml for your own documents, each choice explained in it.

    megadocs init runs/mine --source my_texts/

    megadocs init runs/mine --source my_texts/ --budget 1h
    """
    from megadocs.pipeline.init import write_own_recipe
    from megadocs.pipeline.price.rates import RATES_FROM

    seconds = _seconds(budget) if budget is not None else None
    written = write_own_recipe(directory, source, budget_seconds=seconds)
    path = written.path
    say(f"{path}: {written.num_records} documents, before long ones are cut")
    if written.choice is not None:
        for reason in written.choice.reasons.values():
            say(f"  {reason}")
        say(f"  at most about {duration(written.choice.seconds)}, {RATES_FROM[written.choice.rates]}")
    say(f"look first:  megadocs plan {path}")
    say(f"then:        megadocs run {path}")


def _seconds(text: str) -> float:
    """`1h30m` in seconds; `UsageError` for what is no time."""
    from megadocs.errors import UsageError

    number = r"(\d+(?:\.\d+)?)"
    found = re.fullmatch("".join(f"(?:{number}{unit})?" for unit in "dhms"), text.strip())
    parts = [float(part) if part else 0.0 for part in found.groups()] if found else []
    if not any(parts):
        raise UsageError(f"{text!r:.40} is not a time", where="--budget", remedy="write 45m, 1h or 1h30m")
    return sum(part * unit for part, unit in zip(parts, (86_400, 3_600, 60, 1), strict=True))
