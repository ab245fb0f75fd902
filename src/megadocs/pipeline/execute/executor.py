"""Where steps run: `local` (processes on this machine) or `ray` (workers of a cluster).

An executor starts steps and hands back their events.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

from megadocs.pipeline.steps.step import Step

ExecutorName = Literal["local", "ray"]


class Executor(Protocol):
    """Runs steps somewhere."""

    @property
    def num_slots(self) -> int:
        """CPU slots of all steps that run at once; a cluster may grow."""

    def slots_of(self, step: Step) -> int:
        """How many of them a step takes."""

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


def build_executor(
    name: ExecutorName, workspace: Path, *, num_slots: int | None = None, ray_address: str | None = None
) -> Executor:
    """The executor of this name.

    Args:
        workspace: directory of the workspace; for a cluster on a filesystem that its nodes share.
        num_slots: steps side by side; None: all cores of the machine or the cluster.
        ray_address: `local` (a Ray of its own), `auto` (the one that runs here) or host:port; None: RAY_ADDRESS, else
            `local`.

    Raises:
        UsageError: Ray is not installed, there is no such cluster, or its nodes cannot share the workspace.
    """
    if name == "local":
        from megadocs.pipeline.execute.local import LocalExecutor

        return LocalExecutor(workspace, num_slots)
    from megadocs.pipeline.cluster.ray_cluster import require_ray

    require_ray()
    from megadocs.pipeline.execute.ray import RayExecutor

    return RayExecutor(workspace, num_slots, ray_address)


@dataclass(frozen=True, slots=True)
class PlannedSlots:
    """Slots that a plan counts on before anything is started."""

    number: int | None  # side by side; None: one per core of this machine
    where: str = ""  # for people, ` of the Ray cluster at host:port`; empty for this machine


def planned_slots(
    name: ExecutorName, num_slots: int | None = None, ray_address: str | None = None, executor: Executor | None = None
) -> PlannedSlots:
    """What an executor of this name would have; joins a cluster that runs already, and starts none.

    Args:
        name, num_slots, ray_address: as for `build_executor`.
        executor: the one itself, where it has been built.

    Raises:
        UsageError: Ray is not installed, or there is no such cluster.
    """
    if name == "local":
        return PlannedSlots(num_slots)
    from megadocs.pipeline.cluster.ray_cluster import require_ray

    require_ray()
    from megadocs.pipeline.cluster.ray_cluster import connect, is_own_cluster

    if is_own_cluster(ray_address):
        return PlannedSlots(num_slots, " of a Ray on this machine")
    same = " of the Ray cluster, each taken to be as fast as one of this machine"
    if executor is not None:
        return PlannedSlots(executor.num_slots, same)
    with connect(ray_address) as cluster:
        number = cluster.capacity().num_cpus
    return PlannedSlots(min(num_slots or number, number), same)
