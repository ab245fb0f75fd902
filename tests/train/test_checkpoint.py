"""Checkpoints: round trip, pruning, damage; killed and out of disk at every system call of a save."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import time

import pytest
import torch

from megadocs.errors import DamagedError, StoreError, TrainingError
from megadocs.train.checkpoint import CheckpointStore
from megadocs.train.distributed import World

ONE_RANK = World(0, 1, torch.device("cpu"))


def tensors_of(step):
    return {"weight.a": torch.full((64, 8), float(step)), "exp_avg.a": torch.arange(512.0) + step}


def newest(store, **options):
    return store.find_newest(ONE_RANK, **options)


def assert_is(checkpoint, step):
    assert checkpoint.step == step
    assert checkpoint.state == {"seconds": step / 2}
    expected = tensors_of(step)
    tensors = {name: torch.full_like(tensor, -1.0) for name, tensor in expected.items()}
    checkpoint.read_into(tensors)
    assert all(torch.equal(tensors[name], tensor) for name, tensor in expected.items())


def save(store, step):
    store.save(step, tensors_of(step), {"seconds": step / 2})


def test_saves_loads_and_keeps_the_newest(tmp_path):
    store = CheckpointStore(tmp_path / "c", keep=2)
    assert newest(store) is None
    for step in (3, 10, 200_000_000):
        save(store, step)
    assert store.steps() == [10, 200_000_000]
    assert_is(newest(store), 200_000_000)
    assert not any(path.suffix in (".pt", ".pkl", ".bin") for path in tmp_path.rglob("*"))


def test_tensors_of_another_model_are_refused(tmp_path):
    store = CheckpointStore(tmp_path, keep=1)
    save(store, 1)
    with pytest.raises(TrainingError, match=r"no weight\.b of shape"):
        newest(store).read_into({"weight.b": torch.zeros(64, 8)})
    with pytest.raises(TrainingError, match=r"no weight\.a of shape \(8, 64\)"):
        newest(store).read_into({"weight.a": torch.zeros(8, 64)})


def truncate(path):
    path.write_bytes(path.read_bytes()[:-7])


def flip(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 4
    path.write_bytes(data)


def foreign(path):
    path.write_text(json.dumps({"hello": "world"}))


@pytest.mark.parametrize("damage", [truncate, flip, foreign, lambda path: path.unlink()])
@pytest.mark.parametrize("name", ["tensors.safetensors", "state.json"])
def test_a_damaged_newest_gives_way_to_the_one_before(tmp_path, caplog, damage, name):
    store = CheckpointStore(tmp_path, keep=3)
    save(store, 1)
    save(store, 2)
    if (damage, name) == (flip, "state.json"):
        record = json.loads((tmp_path / "step-00000002/state.json").read_text())
        record["files"]["tensors.safetensors"]["sha256"] = "0" * 64
        (tmp_path / "step-00000002/state.json").write_text(json.dumps(record))
    else:
        damage(tmp_path / "step-00000002" / name)
    with pytest.raises(DamagedError):
        newest(store, strict=True)
    assert_is(newest(store), 1)
    assert "step 2 is damaged" in caplog.text
    save(store, 2)
    assert_is(newest(store, strict=True), 2)


def test_leftovers_of_a_killed_save_are_cleared(tmp_path):
    store = CheckpointStore(tmp_path, keep=1)
    (tmp_path / ".saving-00000007").mkdir()
    (tmp_path / ".removing-00000003").mkdir()
    save(store, 8)
    assert [path.name for path in tmp_path.iterdir()] == ["step-00000008"]


SYSCALLS = ("write", "fsync", "rename", "mkdir", "openat", "unlinkat", "rmdir", "close")


def can_trace():
    if shutil.which("strace") is None:
        return False
    return subprocess.run(["strace", "-o", "/dev/null", "true"], capture_output=True).returncode == 0


def save_under(injection, folder):
    """Save step 2 in a traced child; its exit status as the shell counts it (137: killed)."""
    ready, go = os.pipe()
    child = os.fork()
    if child == 0:
        os.read(ready, 1)
        status = 0
        try:
            save(CheckpointStore(folder, keep=1), 2)
        except StoreError:
            status = 5
        finally:
            os._exit(status)
    tracer = subprocess.Popen(
        ["strace", "-f", "-o", "/dev/null", "-e", injection, "-p", str(child)], stderr=subprocess.PIPE
    )
    for _ in range(2000):
        if b"TracerPid:\t0\n" not in open(f"/proc/{child}/status", "rb").read():  # noqa: PTH123, SIM115
            break
        time.sleep(0.002)
    os.write(go, b"x")
    status = os.waitpid(child, 0)[1]
    tracer.wait(20)
    for descriptor in (ready, go):
        os.close(descriptor)
    return 128 + os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)


@pytest.mark.faults
@pytest.mark.skipif(not can_trace(), reason="needs strace")
@pytest.mark.parametrize("syscall", SYSCALLS)
def test_killed_at_every_system_call_a_whole_checkpoint_exists(tmp_path, syscall):
    save(CheckpointStore(tmp_path / "first", keep=1), 1)
    kills = 0
    for count in range(1, 200):
        folder = tmp_path / "run"
        with contextlib.suppress(FileNotFoundError):
            shutil.rmtree(folder)
        shutil.copytree(tmp_path / "first", folder)
        status = save_under(f"inject={syscall}:signal=SIGKILL:when={count}", folder)
        assert status in (0, 128 + signal.SIGKILL)
        store = CheckpointStore(folder, keep=1)
        found = newest(store, strict=True)
        assert_is(found, found.step)
        assert found.step in (1, 2)
        save(store, 3)
        assert [path.name for path in folder.iterdir()] == ["step-00000003"]
        if status == 0:
            break
        kills += 1
    assert status == 0
    assert kills >= 1


@pytest.mark.faults
@pytest.mark.skipif(not can_trace(), reason="needs strace")
@pytest.mark.parametrize("syscall", ["write", "fsync", "rename", "mkdir"])
@pytest.mark.parametrize("error", ["ENOSPC", "EIO"])
def test_a_failing_disk_at_every_call_never_costs_the_older_checkpoint(tmp_path, syscall, error):
    save(CheckpointStore(tmp_path / "first", keep=1), 1)
    failures = 0
    for count in range(1, 100):
        folder = tmp_path / "run"
        with contextlib.suppress(FileNotFoundError):
            shutil.rmtree(folder)
        shutil.copytree(tmp_path / "first", folder)
        status = save_under(f"inject={syscall}:error={error}:when={count}", folder)
        assert status in (0, 5)
        found = newest(CheckpointStore(folder, keep=1), strict=True)
        assert_is(found, found.step)
        if status == 5:
            assert found.step == 1 or syscall == "fsync"  # the last fsync comes after the rename: both are whole then
        failures += status == 5
        if status == 0 and found.step == 2 and count > failures + 3:
            break
    assert failures >= 1
