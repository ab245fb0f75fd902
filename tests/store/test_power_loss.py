"""Power loss, strictly: of what a program has reported as durable nothing is lost, whatever was not synced.

The images also hold what file systems in practice would keep only in part; ext4, XFS and btrfs lose less.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from megadocs.generate.ledger import Ledger, load_index
from megadocs.generate.records import GenerationRecord
from megadocs.store.artifact import Workspace
from megadocs.store.verify import verify_workspace
from megadocs.train.checkpoint import CheckpointStore
from power_loss import contents, record, replay
from train.runs import train

pytestmark = [pytest.mark.faults, pytest.mark.timeout(600)]

HEAD = """
import os, sys
from pathlib import Path
root = Path(sys.argv[1])
def say(text): os.write(1, f"{text}\\n".encode())
"""
LEDGER = """
import hashlib
def identity(number): return hashlib.sha256(str(number).encode()).hexdigest()[:32]
from megadocs.generate.ledger import Ledger
from megadocs.generate.records import GenerationRecord
with Ledger(root / "a/ws/ledger/rephrase", segment_bytes=600) as ledger:
    for number in range(12):
        text = f"text {number} " * 9
        ledger.append(GenerationRecord(identity(number), "d", "rephrase", 0, 1, "s@1", "ok", text=text))
        if number % 2:
            ledger.sync()
            say(number)
"""
TRAINING = """
from megadocs.train.checkpoint import CheckpointStore
from train.runs import train
publish = CheckpointStore.publish
def told(store, step, *rest):
    publish(store, step, *rest)
    say(step)
CheckpointStore.publish = told
train(root / "a/ws/train/run.partial", num_steps=6)
say("finished")
"""
ARTIFACTS = """
from megadocs.store.artifact import Workspace
for number in range(3):
    with Workspace(root / "a/ws").build("rows", f"f{number}", config={}, inputs={}) as build:
        (build.path / "deep/er").mkdir(parents=True)
        (build.path / "deep/er/data.bin").write_bytes(bytes(range(200)) * 9)
    say(number)
"""


def identity(number: int) -> str:
    return hashlib.sha256(str(number).encode()).hexdigest()[:32]


def can_trace() -> str | None:
    if shutil.which("strace") is None:
        return "strace is not installed (apt-get install strace)"
    tried = subprocess.run(["strace", "-o", os.devnull, "true"], capture_output=True, check=False)
    return None if tried.returncode == 0 else "strace may not trace here (ptrace is forbidden)"


@pytest.fixture(scope="module", autouse=True)
def _tracing():
    reason = can_trace()
    if reason is not None:
        pytest.skip(reason)


def images_of(program: str, tmp_path: Path):
    """Every image of a program's run; the replay is checked against the folder that the program left."""
    root = tmp_path / "disk"
    root.mkdir()
    path = f"{Path(__file__).parents[1]}:{os.environ.get('PYTHONPATH', '')}"
    variables = os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-c", HEAD + program, str(root)]
    disk, images = replay(record(command, variables, tmp_path / "trace"), root)
    real = {file.relative_to(root).as_posix(): None if file.is_dir() else file.read_bytes() for file in root.rglob("*")}
    assert contents(disk) == real
    assert len(images) > 20
    for number, image in enumerate(images):
        folder = tmp_path / f"image-{number}"
        folder.mkdir()
        image.write_to(folder)
        yield number, image.said, folder / "a/ws"
        shutil.rmtree(folder)


def test_a_ledger_keeps_every_record_that_was_synced(tmp_path):
    num_images = 0
    for _, said, workspace in images_of(LEDGER, tmp_path):
        directory, num_durable = workspace / "ledger/rephrase", int(said[-1]) + 1 if said else 0
        num_images += bool(num_durable)
        if num_durable:
            assert directory.is_dir()
        with Ledger(directory) as ledger:  # opens, and goes on
            ledger.append(GenerationRecord(identity(99), "d", "rephrase", 0, 1, "s@1", "ok", text="more"))
        index = load_index(directory)
        found = list(index.read(index.find([identity(number) for number in [*range(num_durable), 99]])))
        assert None not in found
        assert found[-1].text == "more"
        assert all(item.text == f"text {number} " * 9 for number, item in enumerate(found[:-1]))
    assert num_images > 10


def test_a_run_keeps_its_newest_checkpoint_and_resumes_to_the_same_loss(tmp_path):
    whole = train(tmp_path / "whole", num_steps=6).final_loss
    world = SimpleNamespace(size=1, rank=0, sum=lambda values: values)
    num_images = 0
    for number, said, workspace in images_of(TRAINING, tmp_path):
        run, steps = workspace / "train/run.partial", [int(line) for line in said if line != "finished"]
        num_images += bool(steps)
        newest = CheckpointStore(run / "checkpoints", keep=2).find_newest(world)
        assert (newest.step if newest is not None else 0) >= max(steps, default=0)
        if steps and (number % 30 == 0):
            assert train(run, num_steps=6).final_loss == whole
    assert num_images > 10


def test_a_published_artifact_is_whole(tmp_path):
    num_images = 0
    for _, said, workspace in images_of(ARTIFACTS, tmp_path):
        num_images += bool(said)
        for name in said:
            artifact = Workspace(workspace).find("rows", f"f{name}")
            assert artifact is not None
            artifact.check()
            assert not verify_workspace(workspace).problems
    assert num_images > 3
