"""An executor that carries out steps in this process: torch is imported once for a whole test file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from megadocs.errors import MegadocsError
from megadocs.pipeline.stages.stage import run_step
from megadocs.pipeline.steps.step import Step, job_of
from megadocs.store.artifact import Workspace


class InlineExecutor:
    """One step at a time, done when it is started."""

    def __init__(self, workspace: Path, num_slots: int | None = None) -> None:
        self.num_slots = 1
        self._workspace = Workspace(workspace)
        self._ended: list[tuple[Step, dict[str, Any]]] = []

    def slots_of(self, step: Step) -> int:
        return 1

    def start(self, step: Step) -> None:
        event: dict[str, Any] = {"event": "done", "seconds": 0.0, "cpu_seconds": 0.0}
        try:
            run_step(job_of(step), self._workspace, lambda progress: None, lambda: False)
        except MegadocsError as error:
            event = {"event": "failed", **error.to_json()}
        self._ended.append((step, event))

    def events(self, timeout_seconds: float) -> list[tuple[Step, dict[str, Any]]]:
        ended, self._ended = self._ended, []
        return ended

    def stop(self) -> None: ...

    def kill(self) -> None: ...

    def close(self) -> None: ...
