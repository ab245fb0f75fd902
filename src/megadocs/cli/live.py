"""The live table of running steps on a terminal."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from megadocs.cli.console import duration, printable, progress_text
from megadocs.pipeline.execute.scheduler import Listener, StepState


@contextmanager
def live_progress(total: int) -> Iterator[Listener]:
    """Show running steps below the lines of finished ones, for the length of the block."""
    console = Console(stderr=True)
    table = _LiveTable(total)
    with Live(table, console=console, refresh_per_second=4, transient=True):

        def listener(state: StepState) -> None:
            for line in table.note(state):
                console.print(line)

        yield listener


class _LiveTable:
    """Renders itself afresh at each refresh."""

    def __init__(self, total: int) -> None:
        self._total = total
        self._ended = 0
        self._running: dict[str, StepState] = {}
        self._started = time.monotonic()

    def note(self, state: StepState) -> list[Text]:
        """Take in a change; the lines to print above the table."""
        name = state.step.name
        if state.status == "running":
            self._running[name] = state
            is_warning = bool(state.progress.get("is_warning"))
            return (
                [Text(f"  warning {name}: {printable(state.progress['note'])}", style="yellow")] if is_warning else []
            )
        self._running.pop(name, None)
        if state.status in ("done", "reused", "failed", "blocked"):
            self._ended += 1
        match state.status:
            case "done":
                return [Text(f"  done    {name}  ({duration(state.seconds)})", style="green")]
            case "failed" if state.error:
                return [Text(f"  FAILED  {name}: {printable(state.error['what'])}", style="bold red")]
            case "blocked" | "stopped":
                return [Text(f"  {state.status:7} {name}", style="yellow")]
            case _:
                return []

    def __rich__(self) -> Group:
        elapsed = duration(time.monotonic() - self._started)
        rows = Table.grid(padding=(0, 2))
        for name, state in self._running.items():
            progress = state.progress
            bar = ProgressBar(total=progress.get("total"), completed=progress.get("done", 0), width=24)
            rows.add_row(Text(f"  {name}"), bar if progress.get("total") else Text(""), Text(progress_text(progress)))
        return Group(Text(f"{self._ended} of {self._total} steps, {elapsed}", style="bold"), rows)
