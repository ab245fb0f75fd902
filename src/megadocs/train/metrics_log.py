"""`metrics.jsonl`: one JSON object a logged step, the truth about a run.

    log = MetricsLog(path); log.keep_until(step=40); log.append({"step": 41, "loss": 5.1, ...}); log.sync()

Trackers and figures are made from this file, never the other way round. Before a checkpoint is published the file is
synced; a resumed run first drops the records past its checkpoint, so that every step appears once. Floats keep all
their digits.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from megadocs.errors import DamagedError
from megadocs.store.files import append_json_line, fsync_file, iter_json_lines, store_error


class MetricsLog:
    """The metrics file of one run; exists from construction on."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.touch()

    def append(self, record: dict[str, Any]) -> None:
        """Write one record in one call (StoreError if the disk is full)."""
        append_json_line(self.path, record)

    def sync(self) -> None:
        """Force the records to the disk."""
        try:
            fsync_file(self.path)
        except OSError as error:
            raise store_error("cannot sync", self.path, error) from error

    def last_step(self) -> int:
        """The step of the last whole record; 0 without one."""
        return max((_step_of(record, self.path) for record in iter_json_lines(self.path)), default=0)

    def keep_until(self, step: int) -> None:
        """Drop a torn last line and the records of later steps."""
        size = 0
        try:
            with self.path.open("rb") as file:
                for line, record in zip(file, iter_json_lines(self.path), strict=False):
                    if _step_of(record, self.path) > step:
                        break
                    size += len(line)
            os.truncate(self.path, size)
        except OSError as error:
            raise store_error("cannot shorten", self.path, error) from error


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """All whole records of a metrics file, in order."""
    return list(iter_json_lines(path))


def _step_of(record: dict[str, Any], path: Path) -> int:
    step = record.get("step")
    if not isinstance(step, int):
        raise DamagedError(
            "a line of the metrics is not a record of a step",
            where=str(path),
            remedy="restore the file, or start the run anew in another folder",
        )
    return step
