"""`megadocs analyze`: a workspace's results as tables, and the published numbers recomputed by our code."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from megadocs.cli.arguments import AsJson
from megadocs.cli.console import mode_text, print_json, say
from megadocs.errors import InputError

_Workspace = Annotated[Path | None, typer.Argument(help="A workspace with results.", metavar="DIR", show_default=False)]
_Tables = Annotated[
    Path | None, typer.Option("--tables", help="Write every table here as CSV and Parquet.", show_default=False)
]
_Beside = Annotated[
    list[Path] | None,
    typer.Option("--beside", help="A replication of it on a corpus of its own; may be repeated.", show_default=False),
]
_Arm = Annotated[str | None, typer.Option("--arm", help="With --beside: the arm compared.", show_default=False)]
_Against = Annotated[str | None, typer.Option("--against", help="With --beside: its reference.", show_default=False)]


def analyze(
    workspace: _Workspace = None,
    published: Annotated[bool, typer.Option("--published", help="Recompute the published numbers.")] = False,
    tables: _Tables = None,
    beside: _Beside = None,
    arm: _Arm = None,
    against: _Against = None,
    as_json: AsJson = False,
) -> None:
    """Print the answer of a workspace's results and write its tables; or check our code on the published numbers.

    megadocs analyze runs/quickstart --tables tables/

    megadocs analyze --published

    megadocs analyze runs/a --beside runs/b --arm stitched --against simple
    """
    if published:
        _print_published(as_json=as_json)
    elif workspace is None:
        raise InputError("no workspace given", remedy="give a workspace, or --published")
    elif beside or arm or against:
        _print_replications([workspace, *(beside or [])], arm, against, as_json=as_json)
    else:
        _print_results(workspace, tables, as_json=as_json)


def _print_published(*, as_json: bool) -> None:
    from megadocs.analysis.published import check_published

    checks = check_published()
    if as_json:
        print_json(checks)
        return
    for check in checks:
        computed = check.computed or "-"
        typer.echo(f"{check.status:26} {check.name}: published {check.published}, computed {computed}")
        if check.note:
            typer.echo(f"{'':26} {check.note}")


def _print_replications(workspaces: list[Path], arm: str | None, against: str | None, *, as_json: bool) -> None:
    from megadocs.analysis.replications import replicated_differences
    from megadocs.pipeline.open_results import open_results

    if arm is None or against is None:
        raise InputError("replications compare two arms", remedy="name them: --arm stitched --against simple")
    rows = replicated_differences([open_results(path)[0] for path in workspaces], arm, against)
    if as_json:
        print_json(rows)
        return
    typer.echo(f"{arm} minus {against}, nats per token, over {len(workspaces)} replications (paired t)")
    for row in rows:
        each = " ".join(f"{value:+.4f}" for value in row.differences)
        tested = ""
        if row.interval is not None:
            tested = f" [{row.interval[0]:+.4f}, {row.interval[1]:+.4f}], p = {row.p_value:.2g}"
        typer.echo(f"{row.set_name} ({mode_text(row.mode)}): {row.mean:+.4f}{tested}; each: {each}")


def _print_results(workspace: Path, tables: Path | None, *, as_json: bool) -> None:
    from megadocs.pipeline.open_results import open_results
    from megadocs.report.sections.paper import derived_tables
    from megadocs.report.tables import write_tables

    results, note = open_results(workspace)
    if note:
        say(note)
    if tables is not None:
        for written in write_tables(results, tables):
            say(str(written))
    if as_json:
        print_json(results | derived_tables(results))
        return
    for sentence in [*results["answer"], *results["warnings"]]:
        typer.echo(sentence)
