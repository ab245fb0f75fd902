"""What a person or a program sees: messages on standard error, results on standard output, and how numbers are said."""

from __future__ import annotations

import json
import math
import re
import sys
from dataclasses import asdict, is_dataclass
from typing import TYPE_CHECKING, Any

from megadocs.errors import MegadocsError

if TYPE_CHECKING:
    from megadocs.pipeline.execute.scheduler import StepState


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
    """The value, data classes as mappings, with "NaN", "Infinity" and "-Infinity" for the numbers that JSON lacks."""
    if is_dataclass(value) and not isinstance(value, type):
        value = asdict(value)
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


def step_news(state: StepState) -> list[str]:
    """What is said of a step where it starts, ends or fails; nothing in between."""
    match state.status:
        case "running" if not state.progress:
            return ["started"]
        case "done":
            return [f"done in {duration(state.seconds)}"]
        case "failed" if state.error:
            return [f"FAILED: {printable(str(state.error['what']))}"]
        case _:
            return []


def mode_text(name: str) -> str:
    """`test alone` as people call it, `test per document`: the mode, at the end of a name, in words."""
    return re.sub(r"\balone$", "per document", name)


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
