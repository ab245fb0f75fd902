"""The connection to Ray: an existing cluster or one of our own on this machine, and whether its nodes can serve.

    with connect("auto") as cluster:
        cluster.capacity().num_gpus

Steps read and write the workspace from every node, and its locks keep two workers off one artifact. So each node is
asked first whether it sees the workspace, whether a lock that this process holds is seen as held there (a filesystem
without cluster-wide `flock` would let two writers in), and whether it has the same version of megadocs.
"""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import logging
import os
import signal
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import megadocs
from megadocs.errors import UsageError
from megadocs.generate.engines import Engine
from megadocs.machine import usable_cores
from megadocs.recipe import EngineConfig
from megadocs.store.lock import hold_lock, is_locked

#: Shared memory of a Ray of our own. Steps hand over files, engines a few kilobytes: Ray's default (30 % of the
#: machine's memory) would stand idle.
OBJECT_STORE_BYTES = 200_000_000

_CHECK_SECONDS = 120.0
_VISIBLE_SECONDS = 60.0
_CAPACITY_SECONDS = 5.0
_POLL_SECONDS = 0.2


@dataclass(frozen=True, slots=True)
class Capacity:
    """What the living nodes of a cluster declare: in all, and the largest number of CPUs and of GPUs on one node."""

    num_cpus: int
    num_gpus: int
    node_cpus: int
    node_gpus: int

    @property
    def cpus_per_gpu(self) -> int:
        """A GPU's share of the CPUs; all of a node's where there is no GPU."""
        return max(1, self.num_cpus // self.num_gpus) if self.num_gpus else self.node_cpus


class Cluster:
    """A connection to Ray, open until `close`.

    Attributes:
        address: host:port for other processes that join.
        is_own: whether it was started here and ends with the connection.
    """

    def __init__(self, address: str, *, is_own: bool) -> None:
        self.address = address
        self.is_own = is_own
        self._capacity: Capacity | None = None
        self._looked = 0.0

    def __enter__(self) -> Cluster:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def capacity(self) -> Capacity:
        """What the nodes offer now; nodes that join or leave show within five seconds."""
        if self._capacity is None or time.monotonic() - self._looked > _CAPACITY_SECONDS:
            self._capacity, self._looked = read_capacity(), time.monotonic()
        return self._capacity

    def close(self) -> None:
        """Leave the cluster; one of our own ends."""
        import ray

        ray.shutdown()


def require_ray() -> None:
    """Say how to get Ray when it is not installed."""
    if importlib.util.find_spec("ray") is None:
        raise UsageError("Ray is not installed", where="--executor ray", remedy="pip install 'megadocs[cluster]'")


def connect(address: str | None = None, num_cpus: int | None = None) -> Cluster:
    """Join a cluster, or start one on this machine.

    Args:
        address: `local`, `auto` or host:port; None: RAY_ADDRESS where it is set, else `local`.
        num_cpus: CPUs of a Ray of our own; None: all usable cores.

    Raises:
        UsageError: no cluster there, another version of Ray or Python, or an address of Ray's client protocol.
    """
    import ray

    address = _resolved(address)
    if address.startswith("ray://"):
        raise UsageError(
            "the driver must run on a machine of the cluster, not through Ray's client",
            where=f"--ray-address {address}",
            remedy="start it there (`ray job submit -- megadocs ...`) and give --ray-address auto",
        )
    logging.getLogger("ray").setLevel(logging.ERROR)  # what it says while starting: that tokens are on
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    if address == "local":
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        options |= {
            "num_cpus": num_cpus or usable_cores(),
            "object_store_memory": OBJECT_STORE_BYTES,
            "include_dashboard": False,
        }
    on_term = signal.getsignal(signal.SIGTERM)  # Ray sets one that exits at once
    try:
        context = ray.init(address, **options)
    except (ConnectionError, RuntimeError, ValueError, ray.exceptions.RayError) as error:
        raise UsageError(
            f"cannot join the Ray cluster: {first_line(error)}",
            where=f"--ray-address {address}",
            remedy="is it running (`ray status`), with the same versions of Ray and Python? `local` starts one here",
        ) from error
    finally:
        signal.signal(signal.SIGTERM, on_term)
    return Cluster(context.address_info["gcs_address"], is_own=address == "local")


def is_own_cluster(address: str | None) -> bool:
    """Whether `connect` would start a Ray on this machine."""
    return _resolved(address) == "local"


def _resolved(address: str | None) -> str:
    return address or os.environ.get("RAY_ADDRESS") or "local"


def read_capacity() -> Capacity:
    """What the living nodes declare now."""
    import ray

    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    cpus = [int(node.get("CPU", 0)) for node in nodes]
    gpus = [int(node.get("GPU", 0)) for node in nodes]
    return Capacity(max(1, sum(cpus)), sum(gpus), max([1, *cpus]), max([0, *gpus]))


@contextlib.contextmanager
def shown_lock(workspace: Path) -> Iterator[Path]:
    """A lock in the workspace that this process holds, for the nodes to look at; removed afterwards."""
    path = workspace / "locks" / f"cluster-{uuid.uuid4().hex[:12]}.lock"
    with hold_lock(path, purpose="cluster"):
        try:
            yield path
        finally:
            path.unlink(missing_ok=True)


def check_nodes(lock: Path) -> None:
    """Ask every node with CPUs whether it can serve.

    Raises:
        UsageError: naming each node that cannot, and why.
    """
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    ask = ray.remote(node_problem)
    answers = {}
    for node in ray.nodes():
        if node["Alive"] and node["Resources"].get("CPU", 0):
            strategy = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
            options = ask.options(num_cpus=0, max_retries=0, scheduling_strategy=strategy)
            answers[node["NodeManagerAddress"]] = options.remote(str(lock), megadocs.__version__)
    problems = {}
    for name, answer in answers.items():
        try:
            problem = ray.get(answer, timeout=_CHECK_SECONDS)
        except ray.exceptions.RayError as error:
            problem = f"cannot run megadocs: {first_line(error)}"
        if problem is not None:
            problems[name] = problem
    if problems:
        raise UsageError(
            f"{len(problems)} of {len(answers)} nodes cannot take part: "
            + "; ".join(f"node {name} {problem}" for name, problem in sorted(problems.items())),
            where=str(lock.parent.parent),
            remedy="see docs/cluster.md: one workspace, one environment and cluster-wide locks on every node",
        )


def node_problem(lock: str, version: str) -> str | None:
    """Why the machine that runs this cannot serve, or None.

    Args:
        lock: of the workspace, held by the driver.
        version: of megadocs at the driver.
    """
    if megadocs.__version__ != version:
        return f"has megadocs {megadocs.__version__}, the driver {version}"
    path = Path(lock)
    if not appears(path, _VISIBLE_SECONDS if path.parent.is_dir() else 5.0):
        return "does not see the workspace"
    if not is_locked(path):
        return "does not see the driver's locks: its filesystem keeps them to one machine"
    return None


def appears(path: Path, seconds: float = _VISIBLE_SECONDS, *, is_waiting: Callable[[], bool] = lambda: True) -> bool:
    """Whether a file that another machine wrote is seen here, within the time that network filesystems take.

    NFS clients remember for up to a minute that a name was not there; opening the directory makes them ask again.
    """
    deadline = time.monotonic() + seconds
    while not path.is_file():
        if time.monotonic() > deadline or not is_waiting():
            return False
        with contextlib.suppress(OSError):
            os.listdir(path.parent)  # noqa: PTH208  (for its effect)
        time.sleep(_POLL_SECONDS)
    return True


def first_line(error: BaseException) -> str:
    """The one line of an error that says most: Ray's messages go over many, the last one names the cause."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[-1] if lines else type(error).__name__)[:300]


@functools.cache
def node_address() -> str:
    """The address of the node that this process runs on."""
    import ray

    return str(ray.util.get_node_ip_address())


def build_cluster_engine(
    config: EngineConfig, ray_address: str | None = None, note: Callable[[str], None] = lambda text: None
) -> Engine:
    """The recipe's engine, `num_servers` of it on the workers of a Ray cluster.

    Args:
        ray_address: as for `connect`.
        note: called with a line when workers come and go.
    """
    require_ray()
    from megadocs.pipeline.cluster.ray_engine import RayEngine

    return RayEngine(config, ray_address, note)
