"""What a person or a program sees: messages and progress on standard error, results on standard output.

On a terminal, progress is a live table (rich); elsewhere plain lines, at most one in ten seconds for each step.
"""

from __future__ import annotations

import json
import math
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from megadocs.errors import MegadocsError

if TYPE_CHECKING:
    from megadocs.pipeline.runner import Listener, StepState

_LINE_SECONDS = 10.0


def print_error(error: MegadocsError, *, as_json: bool) -> None:
    """The error's parts on standard error; with `--json` as a document on standard output."""
    if as_json:
        print_json(error.to_json())
    else:
        say(f"megadocs: {printable(str(error))}")


def print_json(value: Any) -> None:
    """One JSON document on standard output; what is not a finite number is a word, as in results.json."""
    sys.stdout.write(json.dumps(_with_words(value), indent=1, ensure_ascii=False, allow_nan=False) + "\n")
    sys.stdout.flush()


def _with_words(value: Any) -> Any:
    """The value with "NaN", "Infinity" and "-Infinity" for the numbers that JSON lacks."""
    if isinstance(value, dict):
        return {key: _with_words(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_with_words(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else ("Infinity" if value > 0 else "-Infinity")
    return value


def say(text: str = "") -> None:
    """A line for people, on standard error."""
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


def printable(text: str) -> str:
    """Control characters (terminal escapes in document text, say) made visible; line ends stay."""
    return "".join(c if c == "\n" or c.isprintable() else f"\\x{ord(c):02x}" for c in text)


def duration(seconds: float) -> str:
    """`45 s`, `3 min 20 s`, `2 h 05 min`."""
    whole = round(seconds)
    if whole < 90:
        return f"{whole} s"
    if whole < 5400:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def count(number: float) -> str:
    """Token counts as people write them: 950, 12.3K, 4.50M, 3.71B, 1.20T."""
    for size, unit in ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "K")):
        if number >= size:
            return f"{number / size:.3g}{unit}"
    return f"{number:.0f}"


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
    """One line when a step starts, ends or fails; a progress line every ten seconds."""

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
            case "running" if not state.progress:
                say(f"{place} {name}: started")
            case "running":
                now = time.monotonic()
                if now - self._last_line.get(name, 0.0) >= _LINE_SECONDS:
                    self._last_line[name] = now
                    say(f"{place} {name}: {progress_text(state.progress)}")
            case "done":
                say(f"{place} {name}: done in {duration(state.seconds)}")
            case "failed" if state.error:
                say(f"{place} {name}: FAILED: {printable(state.error['what'])}")
            case "blocked":
                say(f"{place} {name}: not done, a step it needs failed")
            case "stopped":
                say(f"{place} {name}: stopped")
            case _:
                pass  # reused steps are counted, not listed: a second run prints one line


def progress_text(progress: dict[str, Any]) -> str:
    """`120/440 generations, 58 tokens/s, 2 min 10 s left`."""
    parts = []
    if progress.get("total"):
        parts.append(f"{count(progress.get('done', 0))}/{count(progress['total'])} {progress.get('unit', '')}".rstrip())
    if progress.get("note"):
        parts.append(printable(str(progress["note"])))
    if progress.get("tokens_per_second"):
        parts.append(f"{count(progress['tokens_per_second'])} tokens/s")
    if progress.get("seconds_left") is not None:
        parts.append(f"{duration(progress['seconds_left'])} left")
    return ", ".join(parts)
