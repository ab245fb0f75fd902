"""What a step and an engine ask of a cluster, and how a node that cannot serve is found out."""

from __future__ import annotations

import pytest

import megadocs
from megadocs.errors import UsageError
from megadocs.pipeline.cluster import ray_cluster
from megadocs.pipeline.cluster.ray_cluster import Capacity, connect, node_problem, shown_lock
from megadocs.pipeline.execute.executor import PlannedSlots, build_executor, planned_slots
from megadocs.pipeline.steps.step import Step
from megadocs.recipe import EngineConfig

GPUS = Capacity(num_cpus=128, num_gpus=16, node_cpus=64, node_gpus=8)
CPUS = Capacity(num_cpus=48, num_gpus=0, node_cpus=16, node_gpus=0)


def step(kind, slots=1, **train):
    return Step(kind, kind, {"train": {"device": "auto", "num_processes": 1, **train}}, {}, slots=slots)


@pytest.mark.parametrize(
    ("asked", "capacity", "expected"),
    [
        (step("train"), CPUS, (1, 0)),
        (step("train", slots=None), CPUS, (16, 0)),  # all of a node, not of the cluster
        (step("train", slots=40), CPUS, (16, 0)),
        (step("train"), GPUS, (8, 1)),  # a GPU with its share of the CPUs
        (step("train", slots=None), GPUS, (8, 1)),
        (step("train", num_processes=4), GPUS, (32, 4)),
        (step("train", device="cpu"), GPUS, (1, 0)),
        (step("rows"), GPUS, (1, 0)),
    ],
)
def test_demand_of_a_step(asked, capacity, expected):
    pytest.importorskip("ray")
    from megadocs.pipeline.execute.ray import demand_of

    demand = demand_of(asked, capacity)
    assert (demand.cpus, demand.gpus) == expected


@pytest.mark.parametrize(
    ("engine", "capacity", "expected"),
    [
        ({"kind": "fake"}, GPUS, (1, 0)),
        ({"kind": "openai"}, GPUS, (1, 0)),
        ({"kind": "llamacpp", "num_threads": 4}, GPUS, (4, 0)),
        ({"kind": "llamacpp", "num_threads": None}, CPUS, (16, 0)),
        ({"kind": "vllm"}, GPUS, (1, 1)),
        ({"kind": "vllm", "options": {"tensor_parallel_size": 4}}, GPUS, (1, 4)),
        ({"kind": "vllm"}, CPUS, (1, 0)),
    ],
)
def test_demand_of_an_engine_worker(engine, capacity, expected):
    pytest.importorskip("ray")
    from megadocs.pipeline.cluster.worker_pool import engine_demand

    demand = engine_demand(EngineConfig.model_validate(engine), capacity)
    assert (demand.num_cpus, demand.num_gpus) == expected


def test_a_node_that_cannot_serve_says_why(tmp_path, monkeypatch):
    monkeypatch.setattr(ray_cluster, "_VISIBLE_SECONDS", 0.1)
    with shown_lock(tmp_path) as lock:
        assert node_problem(str(lock), megadocs.__version__) is None
        assert "has megadocs" in node_problem(str(lock), "0.0.0")
        assert node_problem(str(lock.with_name("other")), megadocs.__version__) == "does not see the workspace"
        monkeypatch.setattr(ray_cluster, "is_locked", lambda path: False)
        assert "locks" in node_problem(str(lock), megadocs.__version__)
    assert not lock.exists()


def test_without_ray_the_message_says_how_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setattr(ray_cluster.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match="Ray is not installed") as error:
        build_executor("ray", tmp_path)
    assert "megadocs[cluster]" in str(error.value)


def test_a_client_address_is_refused():
    pytest.importorskip("ray")
    with pytest.raises(UsageError, match="must run on a machine of the cluster"):
        connect("ray://head:10001")


class _Joined:
    """Stands for a connection to a cluster."""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def capacity(self):
        return Capacity(80, 0, 40, 0)


def test_a_plan_counts_the_cores_of_the_cluster(monkeypatch):
    monkeypatch.setattr(ray_cluster, "connect", lambda address: _Joined())
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    assert planned_slots("local", 3, "auto") == PlannedSlots(3)
    assert planned_slots("ray", None, None).number is None  # a Ray of its own: this machine's cores
    cluster = planned_slots("ray", None, "auto")
    assert cluster.number == 80
    assert "cluster" in cluster.where
    assert planned_slots("ray", 6, "10.0.0.1:6379").number == 6
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.1:6379")
    assert planned_slots("ray").number == 80
