"""Where steps run: `local` (processes on this machine). An executor starts jobs and hands back their events."""

from __future__ import annotations

from typing import Any, Protocol

from megadocs.pipeline.step import Step


class Executor(Protocol):
    """Carries out steps somewhere."""

    num_slots: int

    def start(self, step: Step) -> None:
        """Begin a step; the caller has made sure that enough slots are free."""

    def events(self, timeout_seconds: float) -> list[tuple[Step, dict[str, Any]]]:
        """Wait at most this long for events of running steps. A step ends with done, locked, stopped or failed."""

    def stop(self) -> None:
        """Ask running steps to save and stop."""

    def kill(self) -> None:
        """End running steps at once."""

    def close(self) -> None:
        """Let idle workers go; call it last."""
