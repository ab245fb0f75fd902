"""Progress of the steps of a run: a live table (rich) on a terminal; elsewhere plain lines, at most one in ten seconds
for each step, warnings apart.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from megadocs.cli.console import progress_text, say, step_news

if TYPE_CHECKING:
    from megadocs.pipeline.execute.scheduler import Listener, StepState

_LINE_SECONDS = 10.0


@contextmanager
def show_progress(total: int) -> Iterator[Listener]:
    """A listener for the runner that shows what runs, what is done and what failed."""
    if sys.stderr.isatty():
        from megadocs.cli.live import live_progress

        with live_progress(total) as listener:
            yield listener
    else:
        yield _PlainProgress(total)


class _PlainProgress:
    """One line when a step starts, ends or fails; a progress line every ten seconds, warnings at once."""

    def __init__(self, total: int) -> None:
        self._total = total
        self._ended = 0
        self._last_line: dict[str, float] = {}

    def __call__(self, state: StepState) -> None:
        name = state.step.name
        if state.status in ("done", "reused", "failed", "blocked"):
            self._ended += 1
        place = f"[{self._ended}/{self._total}]"
        match state.status:
            case "running" if state.progress:
                now = time.monotonic()
                is_due = now - self._last_line.get(name, 0.0) >= _LINE_SECONDS
                if is_due or state.progress.get("is_warning"):
                    self._last_line[name] = now
                    say(f"{place} {name}: {progress_text(state.progress)}")
            case "blocked":
                say(f"{place} {name}: not done, a step it needs failed")
            case "stopped":
                say(f"{place} {name}: stopped")
            case _:  # reused steps are counted, not listed: a second run prints one line
                for news in step_news(state):
                    say(f"{place} {name}: {news}")
