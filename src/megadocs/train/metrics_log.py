"""`metrics.jsonl`: one JSON object a logged step, the truth about a run.

    log = MetricsLog(path); log.keep_until(step=40); log.append({"step": 41, "loss": 5.1, ...}); log.sync()

Trackers and figures are made from this file, never the other way round. Before a checkpoint is published the file is
synced; a resumed run first drops the records past its checkpoint, so that every step appears once. Floats keep all
their digits.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from megadocs.errors import DamagedError, StoreError


class MetricsLog:
    """Append-only JSON lines, opened once, one write call a record."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)

    def append(self, record: dict[str, Any]) -> None:
        """Write one record (StoreError if the disk is full)."""
        data = (json.dumps(record, allow_nan=False, separators=(",", ":")) + "\n").encode("utf-8")
        try:
            while data:
                data = data[os.write(self._descriptor, data) :]
        except OSError as error:
            raise _store_error(self.path, error) from error

    def sync(self) -> None:
        """Force the records to the disk."""
        try:
            os.fsync(self._descriptor)
        except OSError as error:
            raise _store_error(self.path, error) from error

    def keep_until(self, step: int) -> None:
        """Drop a torn last line and the records of later steps."""
        kept = [line for line in _whole_lines(self.path) if _step_of(line, self.path) <= step]
        try:
            os.truncate(self.path, sum(len(line) for line in kept))
        except OSError as error:
            raise _store_error(self.path, error) from error

    def close(self) -> None:
        """Close the file; appending afterwards is an error."""
        os.close(self._descriptor)


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """All whole records of a metrics file, in order."""
    return [json.loads(line) for line in _whole_lines(path)]


def _whole_lines(path: Path) -> list[bytes]:
    return [line for line in path.read_bytes().splitlines(keepends=True) if line.endswith(b"\n")]


def _step_of(line: bytes, path: Path) -> int:
    try:
        return int(json.loads(line)["step"])
    except (ValueError, KeyError, TypeError) as error:
        raise DamagedError(
            "a line of the metrics is not a record of a step",
            where=str(path),
            remedy="restore the file or start the run anew",
        ) from error


def _store_error(path: Path, error: OSError) -> StoreError:
    return StoreError(
        f"the metrics could not be written: {error.strerror}",
        where=str(path),
        remedy="free space, then run again: it resumes",
    )
