"""Run steps on a Ray cluster: each in a worker process of its own on some node, started again when it dies.

The driver starts a `StepHost` per running step: an actor that holds the step's CPUs (and a GPU, where the cluster
declares any) and carries it out the way this machine would, with a `LocalExecutor` of its own. Results travel through
the workspace, whose locks and atomic artifacts hold between nodes as between processes; only events travel through
Ray. Generation is the exception: its process runs beside the driver, the only writer of the ledger, and sends requests
to engines on the cluster (`ray_engine`).

A host that dies (process, node, memory) has its step started elsewhere, three times before the step fails. Training
continues from its last checkpoint. Idle hosts are kept for the next step, so that torch is imported once, and let go
after ten seconds, so that others on the cluster get their CPUs.
"""

from __future__ import annotations

import collections
import contextlib
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import RayError

import megadocs
from megadocs.errors import MegadocsError, StoreError
from megadocs.pipeline.cluster.ray_cluster import (
    Capacity,
    appears,
    check_nodes,
    connect,
    first_line,
    node_address,
    node_problem,
    shown_lock,
)
from megadocs.pipeline.cluster.worker_pool import engine_demand
from megadocs.pipeline.execute.local import LocalExecutor
from megadocs.pipeline.steps.step import Step
from megadocs.recipe import EngineConfig
from megadocs.store.artifact import RECORD, Workspace

#: Times that a step is started again after its worker died.
MAX_RERUNS = 3

_IDLE_SECONDS = 10.0
_POLL_SECONDS = 1.0
_PATIENCE_SECONDS = 5.0  # before saying that a step waits for the cluster
_KILL_SECONDS = 5.0
_CLOSE_SECONDS = 40.0

Event = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Demand:
    """What a step's host takes from its node."""

    cpus: int
    gpus: int

    def __str__(self) -> str:
        return f"{self.cpus} CPU{'s' * (self.cpus > 1)}" + (f" and {self.gpus} GPU" if self.gpus else "")


def demand_of(step: Step, capacity: Capacity) -> Demand:
    """CPUs and GPUs of a step: its slots, all of a node where it wants all; a GPU for each rank and a share of CPUs."""
    if step.kind == "train" and step.config["train"]["device"] != "cpu" and capacity.num_gpus:
        gpus = step.config["train"]["num_processes"]
        return Demand(min(gpus * capacity.cpus_per_gpu, capacity.node_cpus), gpus)
    return Demand(min(step.slots or capacity.node_cpus, capacity.node_cpus), 0)


class StepHost:
    """Runs one step at a time on a node (a Ray actor).

    Args:
        workspace: its path, the same on every node.
        num_threads: for a step that takes all slots.
        directory: of the driver, against which the recipe's relative paths were meant.
        lock: held by the driver; see `node_problem`.
    """

    def __init__(self, workspace: str, num_threads: int, directory: str, lock: str) -> None:
        with contextlib.suppress(OSError):
            os.chdir(directory)
        self._workspace = Workspace(workspace)
        self._executor = LocalExecutor(Path(workspace), num_threads)
        self._problem = node_problem(lock, megadocs.__version__)
        self._refused: Event | None = None

    def start(self, step: Step) -> None:
        """Begin a step; what prevents it is told by the next `events`."""
        try:
            if self._problem is not None:
                raise StoreError(f"node {node_address()} {self._problem}", remedy="see docs/cluster.md")
            for needed in step.inputs.values():
                require_artifact(self._workspace, needed)
            self._executor.start(step)
        except MegadocsError as error:
            self._refused = {"event": "failed", **error.to_json()}

    def events(self, timeout_seconds: float) -> tuple[str, list[Event]]:
        """The node, and what happened to the step; waits at most this long for something to happen."""
        if self._refused is not None:
            refused, self._refused = self._refused, None
            return node_address(), [refused]
        return node_address(), [event for _, event in self._executor.events(timeout_seconds)]

    def stop(self) -> None:
        """Ask the step to save and stop."""
        self._executor.stop()

    def kill(self) -> None:
        """End the step at once."""
        self._executor.kill()

    def close(self) -> None:
        """Let the worker process go."""
        self._executor.close()


@dataclass(eq=False, slots=True)
class _Host:
    """The driver's side of a `StepHost`: its actor, the step it works on, the answer that is awaited."""

    actor: Any
    demand: Demand
    step: Step | None = None
    answer: Any = None
    node: str | None = None
    since: float = 0.0  # when the step was given, or the host became idle
    said: float = 0.0


class RayExecutor:
    """Steps on a cluster.

    Args:
        workspace: directory that every node sees under the same path.
        num_slots: at most so many CPU slots at once; None: all of the cluster, as it grows and shrinks.
        address: see `ray_cluster.connect`.

    Raises:
        UsageError: there is no such cluster, or its nodes cannot share the workspace.
    """

    def __init__(self, workspace: Path, num_slots: int | None = None, address: str | None = None) -> None:
        self._workspace = Workspace(workspace.resolve())
        self._max_slots = num_slots
        self._exit = contextlib.ExitStack()
        self._hosts: list[_Host] = []
        self._reruns: collections.Counter[str] = collections.Counter()
        self._is_stopping = False
        self._host_class = ray.remote(StepHost)
        with contextlib.ExitStack() as stack:
            self._cluster = stack.enter_context(connect(address, num_slots))
            self._lock = stack.enter_context(shown_lock(self._workspace.root))
            self._beside = LocalExecutor(self._workspace.root, 1)
            if not self._cluster.is_own:
                check_nodes(self._lock)
            self._exit = stack.pop_all()

    @property
    def num_slots(self) -> int:
        """CPUs of the cluster now, or as many as were allowed."""
        cpus = self._cluster.capacity().num_cpus
        return min(cpus, self._max_slots) if self._max_slots else cpus

    def slots_of(self, step: Step) -> int:
        """CPUs of a step's host; of generation those of its engines."""
        capacity = self._cluster.capacity()
        if step.kind == "generate":
            engine = EngineConfig.model_validate(step.config["generate"]["engine"])
            return min(engine_demand(engine, capacity).num_cpus * engine.num_servers, self.num_slots)
        return min(demand_of(step, capacity).cpus, self.num_slots)

    def start(self, step: Step) -> None:
        """Give the step to an idle host of its size, or to a new one on a node that has room."""
        if step.kind == "generate":
            self._release(lambda host: True)
            self._beside.start(replace(step, settings={**step.settings, "ray_address": self._cluster.address}))
            return
        demand = demand_of(step, self._cluster.capacity())
        idle = next((host for host in self._hosts if host.step is None and host.demand == demand), None)
        if idle is None:
            self._release(lambda host: True)  # of other sizes: they may hold what this one needs
            idle = self._new_host(demand)
        idle.step, idle.since, idle.said = step, time.monotonic(), 0.0
        idle.actor.start.remote(step)
        idle.answer = idle.actor.events.remote(_POLL_SECONDS)

    def events(self, timeout_seconds: float) -> list[tuple[Step, Event]]:
        """Events of running steps. Hosts that died have their steps started again, which shows as progress."""
        busy = {host.answer: host for host in self._hosts if host.step is not None}
        found = self._beside.events(0.0 if busy else timeout_seconds)
        self._release(lambda host: time.monotonic() - host.since > _IDLE_SECONDS)
        if not busy:
            return found
        answers = list(busy)
        ready, _ = ray.wait(answers, num_returns=1, timeout=0.0 if found else timeout_seconds)
        if ready:
            ready, _ = ray.wait(answers, num_returns=len(answers), timeout=0.0)
        for answer in ready:
            found += self._take(busy[answer])
        for host in [host for host in self._hosts if host.step is not None and host.node is None]:
            found += self._wait_for_room(host)
        return found

    def stop(self) -> None:
        """Ask running steps to save and stop; those that still wait for room are taken back."""
        self._is_stopping = True
        self._beside.stop()
        for host in self._hosts:
            if host.step is not None:
                host.actor.stop.remote()

    def kill(self) -> None:
        """End running steps at once."""
        self._beside.kill()
        busy = [host for host in self._hosts if host.step is not None]
        if busy:
            ray.wait([host.actor.kill.remote() for host in busy], num_returns=len(busy), timeout=_KILL_SECONDS)
        for host in busy:
            ray.kill(host.actor)

    def close(self) -> None:
        """Let all hosts go, with half a minute to save for those that still work, and leave the cluster."""
        with self._exit:
            self._beside.close()
            placed = [host.actor.close.remote() for host in self._hosts if host.step is None or host.node]
            if placed:
                ray.wait(placed, num_returns=len(placed), timeout=_CLOSE_SECONDS)
            self._hosts.clear()

    def _new_host(self, demand: Demand) -> _Host:
        options = self._host_class.options(num_cpus=demand.cpus, num_gpus=demand.gpus, max_restarts=0)
        actor = options.remote(str(self._workspace.root), demand.cpus, str(Path.cwd()), str(self._lock))
        host = _Host(actor, demand)
        self._hosts.append(host)
        return host

    def _release(self, chosen: Callable[[_Host], bool]) -> None:
        """Let idle hosts go; Ray ends an actor that nobody holds, once it has done what it was asked."""
        for host in [host for host in self._hosts if host.step is None and chosen(host)]:
            host.actor.close.remote()
            self._hosts.remove(host)

    def _take(self, host: _Host) -> list[tuple[Step, Event]]:
        """What a host answered; asks it on while its step runs."""
        step = host.step
        assert step is not None
        try:
            host.node, events = ray.get(host.answer)
        except RayError as error:
            return self._rerun(host, f"its worker on {_node(host)} died", first_line(error))
        found: list[tuple[Step, Event]] = []
        for event in events:
            if event["event"] == "progress":
                found.append((step, event))
                continue
            host.step, host.since = None, time.monotonic()
            if event.get("signal") is not None:
                return found + self._rerun(host, f"{event['what']} on {_node(host)}", event["where"], step)
            found.append((step, self._checked(step, event)))
        if host.step is not None:
            host.answer = host.actor.events.remote(_POLL_SECONDS)
        return found

    def _checked(self, step: Step, event: Event) -> Event:
        """A step is done when its artifact is seen here."""
        if event["event"] == "done":
            try:
                require_artifact(self._workspace, step)
            except StoreError as error:
                return {"event": "failed", **error.to_json()}
        return event

    def _rerun(self, host: _Host, what: str, where: str, step: Step | None = None) -> list[tuple[Step, Event]]:
        """Start the step of a host that died again, elsewhere; give up after a few times."""
        step = step or host.step
        assert step is not None
        if host.step is not None:  # the actor itself is gone
            self._hosts.remove(host)
        if self._is_stopping:
            return [(step, {"event": "stopped"})]
        self._reruns[step.fingerprint] += 1
        number = self._reruns[step.fingerprint]
        if number > MAX_RERUNS:
            remedy = "out of memory? fewer --jobs; what was saved is kept: run again to go on"
            failed = {"event": "failed", "what": f"{what}, {number} times", "where": where, "remedy": remedy}
            return [(step, {**failed, "exit_code": 1})]
        self.start(step)
        return [(step, {"event": "progress", "note": f"{what}; started again ({number} of {MAX_RERUNS})"})]

    def _wait_for_room(self, host: _Host) -> list[tuple[Step, Event]]:
        """A host that no node has taken yet: say so now and then, take it back when stopping or when no node fits."""
        step, now = host.step, time.monotonic()
        assert step is not None
        if self._is_stopping:
            ray.kill(host.actor)
            self._hosts.remove(host)
            return [(step, {"event": "stopped"})]
        if now - host.since < _PATIENCE_SECONDS or now - host.said < _IDLE_SECONDS:
            return []
        host.said = now
        if demand_of(step, self._cluster.capacity()) != host.demand:  # the largest node has left
            ray.kill(host.actor)
            self._hosts.remove(host)
            self.start(step)
        return [(step, {"event": "progress", "note": f"waits for {host.demand} of the cluster"})]


def require_artifact(workspace: Workspace, step: Step) -> None:
    """Wait until a published artifact is seen on this machine; `StoreError` when it stays away."""
    paths = [workspace.directory(step.kind, fingerprint) / RECORD for fingerprint in step.fingerprints]
    path = next((path for path in paths if path.exists()), paths[0])
    if not appears(path):
        raise StoreError(
            f"the artifact of {step.name!r} is not seen on node {node_address()}",
            where=str(path),
            remedy="is the workspace on a filesystem that all nodes share, under the same path?",
        )


def _node(host: _Host) -> str:
    return f"node {host.node}" if host.node else "its node"
