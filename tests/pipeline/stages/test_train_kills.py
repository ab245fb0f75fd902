"""`megadocs train` killed at ten random steps, in an evaluation and at four points of a save: equal to the bit."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from pipeline.corpora import write_recipe, write_texts
from pipeline.processes import Bound, wait_until

pytestmark = pytest.mark.faults
VOLATILE = ("seconds", "tokens_per_second", "mfu")
COMPARED_STEP = 60
OPTIONS = (
    "train.real_epochs=8",
    "train.checkpoint_minutes=0.0000001",
    "train.keep_checkpoints=1000",
    "train.evaluate_every_steps=3",
)


def can_trace():
    if shutil.which("strace") is None:
        return False
    return subprocess.run(["strace", "-o", "/dev/null", "true"], capture_output=True).returncode == 0


class Run:
    """A workspace in which one run is trained, killed and resumed through the command line."""

    def __init__(self, recipe, workspace):
        self.recipe, self.workspace = recipe, workspace
        self.process = None

    def start(self, *overrides):
        command = [sys.executable, "-m", "megadocs", "train", str(self.recipe), *OPTIONS, *overrides]
        command += ["--arm", "real_only", "--seed", "0", "--workspace", str(self.workspace), "--jobs", "1"]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)

    def folder(self):
        found = list(self.workspace.glob("train/*"))
        return found[0] if found else Path("/nonexistent")

    def records(self):
        try:
            lines = (self.folder() / "metrics.jsonl").read_bytes().split(b"\n")[:-1]
        except FileNotFoundError:
            return []
        return [json.loads(line) for line in lines]

    def wait_until(self, condition):
        bound = Bound(120)
        while not bound.is_over() and self.process.poll() is None:
            records = self.records()
            if records and condition(records):
                return
            time.sleep(0.0003)
        raise AssertionError(f"it did not come that far: {self.process.stderr.read().decode()}")

    def workers(self):
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text()
        return [int(child) for child in children.split()]

    def kill(self):
        """SIGKILL to the workers first: a worker whose parent died would save and stop."""
        for worker in self.workers():
            os.kill(worker, signal.SIGKILL)
        self.process.kill()
        self.process.wait()

    def finish(self):
        self.start()
        wait_until(lambda: self.process.poll() is not None, 200)
        assert self.process.returncode == 0, self.process.stderr.read().decode()

    def state(self, step):
        return load_file(self.folder() / f"checkpoints/step-{step:08d}/tensors.safetensors")

    def has_saved(self, step):
        return (self.folder() / f"checkpoints/step-{step:08d}").is_dir()


@pytest.fixture(scope="module")
def prepared(tmp_path_factory, split_tokenizer):
    root = tmp_path_factory.mktemp("kills")
    recipe = write_recipe(root / "toy.yaml", write_texts(root / "texts", 80), split_tokenizer)
    command = [sys.executable, "-m", "megadocs", "rows", str(recipe), "--workspace", str(root / "rows")]
    subprocess.run(command, check=True, capture_output=True)
    return recipe, root / "rows"


@pytest.fixture(scope="module")
def unbroken(prepared, tmp_path_factory):
    """Trained without a break up to the compared step, killed there to look at its state, then finished."""
    recipe, rows = prepared
    run = Run(recipe, shutil.copytree(rows, tmp_path_factory.mktemp("unbroken") / "ws"))
    run.start()
    run.wait_until(lambda records: run.has_saved(COMPARED_STEP))
    run.kill()
    state = run.state(COMPARED_STEP)
    run.finish()
    return run, state


def assert_equal_to_the_bit(run, unbroken):
    whole, expected = unbroken
    if not run.has_saved(COMPARED_STEP):
        run.start()
        run.wait_until(lambda records: run.has_saved(COMPARED_STEP))
        run.kill()
    state = run.state(COMPARED_STEP)
    assert {name.split(".")[0] for name in expected} == {"weight", "exp_avg", "exp_avg_sq"}
    assert state.keys() == expected.keys()
    assert all(torch.equal(state[name], expected[name]) for name in expected)
    run.finish()
    curves = [
        [{key: value for key, value in record.items() if key not in VOLATILE} for record in each.records()]
        for each in (run, whole)
    ]
    assert curves[0] == curves[1]
    assert {"loss", "learning_rate", "grad_norm", "windows"} <= curves[0][0].keys()
    assert sum("evaluation" in record for record in curves[0]) > COMPARED_STEP // 3
    models = [(each.folder() / "model/model.safetensors").read_bytes() for each in (run, whole)]
    assert models[0] == models[1]


@pytest.mark.timeout(1800)
def test_killed_at_ten_random_steps_and_in_an_evaluation(prepared, unbroken, tmp_path):
    recipe, rows = prepared
    run = Run(recipe, shutil.copytree(rows, tmp_path / "ws"))
    for step in sorted(random.Random(0).sample(range(1, COMPARED_STEP - 10), 10)):
        run.start()
        run.wait_until(lambda records, step=step: records[-1]["step"] >= step)
        run.kill()
    for _ in range(10):  # until one falls between a step's record and that of its evaluation
        run.start()
        first = run.records()[-1]["step"]
        run.wait_until(lambda records, first=first: records[-1]["step"] > first and is_being_evaluated(records[-1]))
        run.kill()
        if is_being_evaluated(run.records()[-1]):
            break
    assert is_being_evaluated(run.records()[-1])
    assert_equal_to_the_bit(run, unbroken)


def is_being_evaluated(record):
    return record["step"] % 3 == 0 and "loss" in record


@pytest.mark.timeout(1800)
@pytest.mark.skipif(not can_trace(), reason="needs strace")
def test_killed_at_four_points_of_a_save(prepared, unbroken, tmp_path):
    recipe, rows = prepared
    run = Run(recipe, shutil.copytree(rows, tmp_path / "ws"))
    points = {
        "fsync:signal=SIGKILL:when=1": (),  # the tensors are written
        "rename:signal=SIGKILL:when=1": (),  # the record comes into place
        "rename:signal=SIGKILL:when=2": (),  # the folder is published
        "unlinkat:signal=SIGKILL:when=1": ("train.keep_checkpoints=1",),  # an old one is removed
    }
    for point, overrides in points.items():
        run.start(*overrides)
        before = len(run.records())
        run.wait_until(lambda records, before=before: len(records) > before + 2)
        (worker,) = run.workers()
        tracer = subprocess.Popen(
            ["strace", "-f", "-o", "/dev/null", "-e", f"inject={point}", "-p", str(worker)], stderr=subprocess.DEVNULL
        )
        wait_until(lambda: run.process.poll() is not None, 60)
        assert run.process.returncode == 1
        assert b"killed by SIGKILL" in run.process.stderr.read()
        tracer.wait(20)
    assert_equal_to_the_bit(run, unbroken)
