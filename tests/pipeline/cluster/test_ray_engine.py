"""Generation over engine workers of a cluster: the same records as beside the driver, whatever dies."""

from __future__ import annotations

import asyncio
import os
import time

import pytest

from megadocs.errors import EngineError
from megadocs.generate import export_generations, plan_requests, run_generation
from megadocs.generate.engines.protocol import Completion, EngineFailure, Reply
from megadocs.generate.ledger import segment_paths
from megadocs.store.framed_log import iter_frames
from pipeline.cluster.generation import make_config, make_documents
from pipeline.processes import kill, pids_of

pytest.importorskip("ray")

from megadocs.pipeline.cluster.ray_engine import RayEngine


class AllWorkers(RayEngine):
    """Waits for the last worker, where the engine itself is content with the first."""

    async def start(self):
        await super().start()
        while len(self._pool.usable()) < len(self._pool.slots):
            await asyncio.sleep(0.05)


class UntilReplaced(AllWorkers):
    """Holds replies back while `is_short()`: a run may end sooner than Ray starts another worker."""

    is_short = staticmethod(lambda: False)

    async def complete(self, request):
        reply = await super().complete(request)
        while self.is_short():
            await asyncio.sleep(0.05)
        return reply


def workers():
    """Engine workers of this process's own clusters; other processes' tests run beside it."""
    return pids_of("ray::EngineWorker", under=os.getpid())


def found_workers():
    """The same, once there is one: Ray renames its processes between calls, and a look in between finds none."""
    deadline = time.monotonic() + 10
    while not (found := workers()):
        assert time.monotonic() < deadline, "no engine worker runs"
        time.sleep(0.02)
    return found


def no_workers_left():
    """Every worker ends with its run. Ray kills without waiting, and a process of a busy machine takes a while."""
    deadline = time.monotonic() + 10
    while left := workers():
        assert time.monotonic() < deadline, left
        time.sleep(0.02)


class Run:
    """One generation run: its books, its frames in the ledger, its export."""

    def __init__(self, config, documents, directory, *, engine=None, on_progress=lambda progress: None):
        ledger = directory / "ledger"
        self.books = run_generation(config, "rephrase", documents, ledger, on_progress, lambda: False, engine=engine)
        self.frames = [frame for path in segment_paths(ledger) for frame in iter_frames(path)]
        export_generations(plan_requests(config, "rephrase", documents), ledger, directory / "export.parquet")
        self.export = (directory / "export.parquet").read_bytes()


def same_records(run, expected):
    """Not one record lost, none twice, each the same bytes; the order in the ledger is that of the replies."""
    assert len(run.frames) == len(expected.frames)
    assert sorted(run.frames) == sorted(expected.frames)
    assert run.export == expected.export
    assert run.books.ok == expected.books.ok and run.books.failed == run.books.pending == 0


class KillOnce:
    """Kills as soon as so many records are there; remembers what was in flight."""

    def __init__(self, done, action):
        self.done, self.action, self.in_flight = done, action, None

    def __call__(self, progress):
        if self.in_flight is None and progress.done >= self.done:
            self.in_flight = progress.in_flight
            self.action()


def test_the_same_ledger_records_and_export_as_beside_the_driver(address, tmp_path):
    odd = {"odd": "empty:0.1,truncated:0.1,repetition:0.1"}  # some are asked for again with another seed
    config, documents = make_config(options=odd), make_documents(40)
    local = Run(config, documents, tmp_path / "local")
    assert local.books.num_sent > 80
    notes = []
    spread = Run(config, documents, tmp_path / "ray", engine=AllWorkers(config.engine, address, notes.append))
    same_records(spread, local)
    assert spread.books.num_sent == local.books.num_sent
    assert notes[-1] == "2 of 2 engine workers up"
    no_workers_left()


@pytest.mark.slow
def test_a_worker_is_killed(address, tmp_path):
    config, documents = make_config(options={"latency_seconds": 0.1}), make_documents(60)
    local = Run(config, documents, tmp_path / "local")
    notes, both = [], "2 of 2 engine workers up"
    killer = KillOnce(20, lambda: kill(found_workers()[0]))
    engine = UntilReplaced(config.engine, address, notes.append)
    engine.is_short = lambda: killer.in_flight is not None and notes.count(both) < 2
    killed = Run(config, documents, tmp_path / "killed", engine=engine, on_progress=killer)
    assert killer.in_flight is not None
    same_records(killed, local)
    assert local.books.num_sent < killed.books.num_sent <= local.books.num_sent + killer.in_flight + 2
    assert notes.count(both) == 2  # another one took the dead one's place


@pytest.mark.slow
def test_all_workers_are_killed(address, tmp_path):
    config, documents = make_config(options={"latency_seconds": 0.1}), make_documents(40)
    local = Run(config, documents, tmp_path / "local")
    killer = KillOnce(20, lambda: [kill(pid) for pid in found_workers()])
    killed = Run(config, documents, tmp_path / "killed", engine=AllWorkers(config.engine, address), on_progress=killer)
    assert killer.in_flight is not None
    same_records(killed, local)


@pytest.mark.slow
def test_a_node_leaves(make_cluster, tmp_path):
    cluster = make_cluster(num_cpus=0)
    nodes = [cluster.add_node(num_cpus=1, object_store_memory=80_000_000) for _ in range(2)]
    config, documents = make_config(options={"latency_seconds": 0.5}), make_documents(60)
    local = Run(config, documents, tmp_path / "local")
    killer = KillOnce(10, lambda: cluster.remove_node(nodes[0], allow_graceful=False))
    notes = []
    engine = AllWorkers(config.engine, cluster.address, notes.append)
    left = Run(config, documents, tmp_path / "left", engine=engine, on_progress=killer)
    assert killer.in_flight is not None
    same_records(left, local)
    assert notes[-1] == "1 of 2 engine workers up"  # no room for another


@pytest.mark.slow
def test_an_engine_that_cannot_start_is_named(address, tmp_path):
    config = make_config(engine={"kind": "vllm", "command": [str(tmp_path / "no-vllm")]})
    with pytest.raises(EngineError, match=r"node .*: no command"):
        Run(config, make_documents(2), tmp_path / "none", engine=RayEngine(config.engine, address))
    no_workers_left()


@pytest.mark.slow
def test_requests_wait_for_room_and_go_to_the_worker_of_their_lane(address):
    config = make_config(options={"latency_seconds": 0.5}, engine={"num_servers": 2, "concurrency": 1})
    engine = AllWorkers(config.engine, address)

    async def scenario():
        await engine.start()
        started = time.monotonic()
        replies = await asyncio.gather(*(engine.complete(completion(lane)) for lane in range(8)))
        seconds = time.monotonic() - started
        assert await engine.is_healthy()
        await engine.close()
        await engine.close()
        return replies, seconds, await engine.complete(completion(0))

    replies, seconds, after = asyncio.run(scenario())
    assert all(isinstance(reply, Reply) for reply in replies)
    assert 2.0 <= seconds < 4.0  # eight requests of 0.5 s, two at once
    assert after == EngineFailure("connection", "no engine worker is up")


def completion(lane):
    return Completion([{"role": "user", "content": f"Lane {lane}."}], 20, 1.0, 1.0, lane, 5.0, {}, lane)
