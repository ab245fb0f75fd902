"""`megadocs doctor`: versions, processor, accelerators, engines and data that are found on this machine."""

from __future__ import annotations

import typer

from megadocs.cli.arguments import AsJson
from megadocs.cli.console import print_json


def doctor(as_json: AsJson = False) -> None:
    """Look at this machine: what works, what is missing, what to do about it.

    megadocs doctor
    """
    from megadocs.pipeline.doctor import examine

    findings = examine()
    if as_json:
        print_json(findings)
        return
    for finding in findings:
        mark = "ok     " if finding.is_ok else "missing"
        typer.echo(f"{mark} {finding.name}: {finding.found}")
        if finding.remedy and not finding.is_ok:
            typer.echo(f"        {finding.remedy}")
