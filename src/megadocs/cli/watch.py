"""`megadocs watch`: a page on the loopback address that shows a run while it works."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from megadocs.cli.arguments import AllowCode
from megadocs.cli.console import say

_PORT = 8639


def watch(
    workspace: Annotated[Path, typer.Argument(help="A workspace.", metavar="DIR", show_default=False)],
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="Port; 0 takes a free one.")] = _PORT,
    refresh: Annotated[int, typer.Option("--refresh", min=1, max=3600, help="Seconds between looks.")] = 5,
    once: Annotated[bool, typer.Option("--once", help="Print the page to standard output instead, and end.")] = False,
    allow_code: AllowCode = False,
) -> None:
    """Show generation and training curves of a workspace in a browser while it runs, arms side by side.

    The server listens on this machine only and ends with Ctrl-C, with its terminal, or when nobody has looked for
    half an hour.

    megadocs watch runs/quickstart
    """
    from megadocs.cli.watch_server import LiveServer
    from megadocs.pipeline.watch import Watcher
    from megadocs.report.live import build_live_page

    watcher = Watcher(workspace, allow_code=allow_code)

    def page() -> str:
        return build_live_page(watcher.look(), refresh_seconds=refresh)

    if once:
        typer.echo(page())
        return
    with LiveServer(page, port) as server:
        say(f"http://127.0.0.1:{server.port}/  (Ctrl-C ends it)")
        server.serve()
