"""A Ray cluster for the tests: one node of two CPUs, its object store small. Tests are skipped where Ray is missing."""

from __future__ import annotations

import os
import signal

import pytest

NODE = {"num_cpus": 2, "object_store_memory": 80_000_000, "include_dashboard": False}


@pytest.fixture(scope="session")
def make_cluster():
    """Builds clusters; all are ended with the session."""
    pytest.importorskip("ray")
    import ray
    from ray.cluster_utils import Cluster

    os.environ["RAY_AUTH_MODE"] = "disabled"  # otherwise a token is written into the home directory
    # Ray gives its workers niceness 15: beside anything else on this machine they would get next to no processor time.
    os.environ["RAY_worker_niceness"] = "0"  # noqa: SIM112
    made = []

    def build(**head):
        on_term = signal.getsignal(signal.SIGTERM)
        made.append(Cluster(initialize_head=True, head_node_args=NODE | head))
        signal.signal(signal.SIGTERM, on_term)
        return made[-1]

    yield build
    ray.shutdown()
    for cluster in made:
        cluster.shutdown()
    for name in ("RAY_AUTH_MODE", "RAY_worker_niceness"):
        os.environ.pop(name, None)  # a cluster inside another's time has taken it already


@pytest.fixture(scope="session")
def address(make_cluster):
    """host:port of a cluster that is there for all tests; none may harm it."""
    return make_cluster().address


@pytest.fixture(autouse=True)
def own_handlers():
    """Nodes of a test's cluster set a handler for SIGTERM in this process: later tests get theirs back."""
    on_term = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, on_term)
