"""`--executor ray` as a user runs it: the same artifacts as on this machine, whatever dies; two drivers; stopping."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys

import pytest

from pipeline.corpora import write_recipe, write_texts
from pipeline.processes import end_of, kill, pids_of, wait_until

pytest.importorskip("ray")
pytestmark = pytest.mark.timeout(1800)  # each is some minutes beside other work; the bounds below count processor time

HOST, ENGINE, WORKER = "ray::StepHost", "ray::EngineWorker", "megadocs.pipeline.execute.worker"


def start(verb, recipe, workspace, *options):
    words = [sys.executable, "-m", "megadocs", verb, recipe, *options, "--workspace", workspace]
    return subprocess.Popen(
        [str(word) for word in words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        start_new_session=True,
    )


def on(address, *options):
    return ["--executor", "ray", "--ray-address", address, "--jobs", "2", *options]


def ended(process, code=0):
    output, messages = end_of(process, 240)
    assert process.returncode == code, messages[-3000:]
    return output, messages


def contents(workspace):
    """Artifact -> file -> SHA-256, of all files that do not hold timings."""
    found = {}
    for path in workspace.glob("*/*/record.json"):
        files = json.loads(path.read_text())["files"]
        if path.parts[-3] == "report":
            continue
        found["/".join(path.parts[-3:-1])] = {
            name: facts["sha256"]
            for name, facts in files.items()
            if name not in ("metrics.jsonl", "run.json", "summary.json")
        }
    return found


def wait_for(condition, process):
    def holds():
        assert process.poll() is None, process.communicate()[1][-3000:]
        return condition()

    return wait_until(holds, 120)


@pytest.fixture(scope="module")
def recipe(tmp_path_factory, split_tokenizer):
    """Four arms with two seeds over forty documents: eight training runs."""
    root = tmp_path_factory.mktemp("ray")
    path = write_recipe(root / "toy.yaml", write_texts(root / "texts", 40), split_tokenizer)
    text = path.read_text().replace(
        "concurrency: 8", "concurrency: 4, num_servers: 2, options: {latency_seconds: 0.05}"
    )
    lines = [line for line in text.splitlines() if "real_4x" not in line and "latent_thoughts:" not in line]
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.fixture(scope="module")
def expected(recipe, tmp_path_factory):
    """What this machine makes of it without Ray."""
    workspace = tmp_path_factory.mktemp("local") / "ws"
    ended(start("run", recipe, workspace, "--jobs", 2))
    found = contents(workspace)
    assert sum(name.startswith("train/") for name in found) == 8
    return found


@pytest.mark.slow
def test_a_recipe_gives_the_same_artifacts_as_without_ray(address, recipe, expected, tmp_path):
    ended(start("run", recipe, tmp_path / "ws", *on(address)))
    assert contents(tmp_path / "ws") == expected
    assert (tmp_path / "ws" / "report.html").is_file()
    assert not list((tmp_path / "ws" / "locks").glob("cluster-*"))
    _, again = ended(start("run", recipe, tmp_path / "ws", *on(address)))
    assert "0 steps done" in again


@pytest.mark.slow
def test_dead_workers_cost_nothing_but_time(address, recipe, expected, tmp_path):
    """An engine worker, the actor of a training run and the process of another are killed."""
    workspace = tmp_path / "ws"
    process = start("run", recipe, workspace, *on(address))
    kill(wait_for(lambda: list(workspace.glob("ledger/*/*.log")) and pids_of(ENGINE, under=os.getpid()), process)[0])
    wait_for(lambda: list(workspace.glob("train/*.partial/metrics.jsonl")), process)
    kill(wait_for(lambda: pids_of(HOST, under=os.getpid()), process)[0])
    num_trained = len(list(workspace.glob("train/*/record.json")))
    wait_for(lambda: len(list(workspace.glob("train/*/record.json"))) > num_trained, process)
    workers = [pid for host in pids_of(HOST, under=os.getpid()) for pid in pids_of(sys.executable, under=host)]
    for pid in workers:
        kill(pid)
    _, messages = ended(process)
    assert contents(workspace) == expected
    assert "started again" in messages or "in use by" in messages


@pytest.mark.slow
def test_a_node_leaves_and_its_runs_go_on_elsewhere(make_cluster, recipe, expected, tmp_path):
    cluster = make_cluster(num_cpus=1)
    node = cluster.add_node(num_cpus=1, object_store_memory=80_000_000)
    workspace = tmp_path / "ws"
    process = start("run", recipe, workspace, *on(cluster.address))
    wait_for(lambda: list(workspace.glob("train/*.partial/metrics.jsonl")), process)
    cluster.remove_node(node, allow_graceful=False)
    ended(process)
    assert contents(workspace) == expected


@pytest.mark.slow
def test_two_drivers_share_the_work(address, recipe, expected, tmp_path):
    workspace = tmp_path / "ws"
    drivers = [start("run", recipe, workspace, *on(address)) for _ in range(2)]
    for driver in drivers:
        ended(driver)
    assert contents(workspace) == expected


@pytest.mark.slow
def test_ctrl_c_saves_stops_and_leaves_no_process(recipe, tmp_path):
    workspace = tmp_path / "ws"
    process = start("train", recipe, workspace, *on("local"))
    wait_for(lambda: list(workspace.glob("train/*.partial/metrics.jsonl")), process)
    os.killpg(process.pid, signal.SIGINT)
    _, messages = ended(process, code=130)
    assert "run the same command again" in messages
    wait_until(lambda: not pids_of("raylet", under=process.pid) + pids_of(WORKER, under=process.pid), 20)


@pytest.mark.slow
def test_nodes_that_do_not_see_the_workspace_are_named(address, tmp_path):
    from megadocs.errors import UsageError
    from megadocs.pipeline.cluster import ray_cluster

    cluster = ray_cluster.connect(address)
    try:
        with ray_cluster.shown_lock(tmp_path) as lock:
            ray_cluster.check_nodes(lock)
            with pytest.raises(UsageError, match=r"1 of 1 nodes cannot take part: node .* does not see the workspace"):
                ray_cluster.check_nodes(tmp_path / "elsewhere" / "locks" / "x.lock")
    finally:
        cluster.close()


def test_a_search_finds_the_same_with_its_trials_on_ray(address, recipe, tmp_path):
    axes = (
        "search={axes: {train.learning_rate: {values: [0.001, 0.003, 0.01]}, train.real_epochs: {values: [1, 2, 4]}}}"
    )
    options = [axes, "search.arms=[real_only]", "seeds=[0]", "--max-runs", "8"]
    results = {}
    for name, where in (("local", ["--jobs", "2"]), ("ray", on(address))):
        ended(start("search", recipe, tmp_path / name, *options, *where))
        (arm,) = json.loads((tmp_path / name / "search.json").read_text())["arms"]
        trials = sorted((str(trial["setting"]), trial["seed"], trial["loss"]) for trial in arm["trials"])
        results[name] = (arm["certificate"]["setting"], arm["certificate"]["loss"], trials)
    assert results["ray"] == results["local"]
    assert len(results["ray"][2]) > 3
