"""The progress of a run as others see it: a note beside the ledger, and the words of the progress line.

    write_progress(ledger_dir, progress)       # about once a second, by the process that writes
    live = read_progress(ledger_dir)           # `megadocs generate status`, while it runs or afterwards

The note is for people: it is replaced atomically but never synced, and losing it loses nothing.
"""

from __future__ import annotations

import contextlib
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from megadocs.generate.accounting import GenerationProgress
from megadocs.store.lock import is_locked

_FILE = "progress.json"


@dataclass(frozen=True, slots=True)
class LiveProgress:
    """The last moment that a run noted, and whether that run is still going on."""

    progress: GenerationProgress
    is_running: bool


def write_progress(ledger_dir: Path, progress: GenerationProgress) -> None:
    """Replace the note; a disk that is full or failing is the ledger's to report."""
    temporary = ledger_dir / f".{_FILE}.{os.getpid()}.tmp"
    with contextlib.suppress(OSError):
        temporary.write_text(json.dumps(asdict(progress), allow_nan=False))
        temporary.replace(ledger_dir / _FILE)


def read_progress(ledger_dir: Path) -> LiveProgress | None:
    """The note; None when there is none that this version understands."""
    try:
        progress = GenerationProgress(**json.loads((ledger_dir / _FILE).read_bytes()))
    except (OSError, ValueError, TypeError):
        return None
    return LiveProgress(progress, is_locked(ledger_dir / "ledger.lock"))


def progress_event(progress: GenerationProgress, unit: str = "generations") -> dict[str, Any]:
    """The progress as an event of a pipeline step; see `progress_note` for the words."""
    return {
        "done": progress.done,
        "total": progress.requested,
        "unit": unit,
        "note": progress_note(progress),
        "tokens_per_second": progress.tokens_per_second,
        "seconds_left": progress.seconds_left,
    }


def progress_note(progress: GenerationProgress) -> str:
    """`55 documents, 3 failed (timeout 2, malformed 1), 41 % of prompt tokens cached, cost 0.12, stopping`."""
    parts = [f"{progress.num_documents} documents"] if progress.num_documents else []
    if progress.rejected:
        parts.append(f"{progress.rejected} rejected")
    if progress.failed or progress.skipped:
        classes = ", ".join(f"{name} {count}" for name, count in progress.errors.items() if name != "quality")
        parts.append(f"{progress.failed} failed" + (f", {progress.skipped} skipped" if progress.skipped else ""))
        parts[-1] += f" ({classes})" if classes else ""
    if progress.cached_share:
        parts.append(f"{progress.cached_share:.0%} of prompt tokens cached")
    if progress.occupancy is not None:
        parts.append(f"batch {progress.occupancy:.0%} full")
    if progress.num_counted_here:
        parts.append(f"tokens of {progress.num_counted_here} replies counted here, the server gives none")
    if progress.cost:
        parts.append(f"{progress.server_hours:.2f} server hours, cost {progress.cost:.2f}")
    if progress.state not in ("running", "finished"):
        parts.append(progress.state)
    if progress.reason:
        parts.append(progress.reason)
    return ", ".join(parts)
