"""torchrun with gloo on 2 and 4 processes: same order and losses, resume with other ranks, stops on every rank."""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from megadocs.errors import RecipeError
from megadocs.train.checkpoint import CheckpointStore
from megadocs.train.distributed import World
from megadocs.train.metrics_log import read_metrics
from pipeline.processes import run_within
from train.runs import train, train_config

pytestmark = pytest.mark.slow
WORKER = Path(__file__).with_name("rank_worker.py")


def launch(output_dir, num_ranks, *, seconds=200, **options):
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={num_ranks}"]
    command += [str(WORKER), str(output_dir), json.dumps(options)]
    paths = [str(WORKER.parents[1]), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(paths)}
    return run_within(command, seconds, env=environment)


def losses(output_dir):
    return np.array([record["loss"] for record in read_metrics(output_dir / "metrics.jsonl")])


def windows(output_dir):
    return [record["windows"] for record in read_metrics(output_dir / "metrics.jsonl")]


@pytest.fixture(scope="module")
def one_rank(tmp_path_factory):
    folder = tmp_path_factory.mktemp("one") / "run"
    train(folder, config=train_config(dtype="float32"))
    return folder


@pytest.mark.parametrize("parallel", ["ddp", "fsdp"])
@pytest.mark.parametrize("num_ranks", [2, 4])
def test_any_number_of_ranks_trains_the_same_run(tmp_path, one_rank, parallel, num_ranks):
    result = launch(tmp_path / "run", num_ranks, config={"dtype": "float32", "parallel": parallel})
    assert result.returncode == 0, result.stderr
    assert windows(tmp_path / "run") == windows(one_rank)
    assert np.allclose(losses(tmp_path / "run"), losses(one_rank), rtol=2e-5)
    ours, reference = (load_file(folder / "model/model.safetensors") for folder in (tmp_path / "run", one_rank))
    assert all(torch.allclose(ours[name], reference[name], atol=2e-4) for name in reference)


def test_a_run_goes_on_with_another_number_of_ranks_and_another_layout(tmp_path, one_rank):
    folder = tmp_path / "run"
    for num_ranks, parallel, stop_at, shards in ((1, "ddp", 3, 1), (2, "fsdp", 6, 2), (4, "ddp", 9, 1)):
        result = launch(folder, num_ranks, stop_at=stop_at, config={"dtype": "float32", "parallel": parallel})
        assert result.returncode != 0
        saved = CheckpointStore(folder / "checkpoints", keep=2).steps()[-1]  # one may have been in flight
        assert stop_at - 2 <= saved <= stop_at
        assert len(list((folder / f"checkpoints/step-{saved:08d}").glob("*.safetensors"))) == shards
    train(folder, config=train_config(dtype="float32"))
    assert windows(folder) == windows(one_rank)
    assert np.allclose(losses(folder), losses(one_rank), rtol=2e-5)


@pytest.mark.parametrize("options", [{}, {"ema_decay": 0.9}])
def test_a_sharded_run_resumes_to_the_bit(tmp_path, options):
    config = {"parallel": "fsdp"} | options
    launch(tmp_path / "whole", 2, config=config)
    for stop_at in (4, 9):
        launch(tmp_path / "broken", 2, stop_at=stop_at, config=config)
    result = launch(tmp_path / "broken", 2, config=config)
    assert result.returncode == 0, result.stderr
    assert np.array_equal(losses(tmp_path / "broken"), losses(tmp_path / "whole"))
    exported = [(tmp_path / name / "model/model.safetensors").read_bytes() for name in ("broken", "whole")]
    assert exported[0] == exported[1]
    assert sharded_state(tmp_path / "broken") == sharded_state(tmp_path / "whole")


def sharded_state(output_dir):
    """Every tensor of every rank's part of the last checkpoint, as bytes."""
    newest = max((output_dir / "checkpoints").glob("step-*"))
    files = sorted(newest.glob("*.safetensors"))
    assert len(files) == 2
    return [{name: tensor.numpy().tobytes() for name, tensor in load_file(path).items()} for path in files]


def test_a_damaged_shard_gives_way_on_every_rank(tmp_path):
    config = {"parallel": "fsdp"}
    launch(tmp_path / "run", 2, stop_at=6, config=config)
    store = CheckpointStore(tmp_path / "run/checkpoints", keep=2)
    newest = store.steps()[-1]
    shard = max((tmp_path / f"run/checkpoints/step-{newest:08d}").glob("*.safetensors"))
    shard.write_bytes(shard.read_bytes()[:-1] + b"x")
    result = launch(tmp_path / "run", 2, config=config)
    assert result.returncode == 0, result.stderr
    assert result.stderr.count(f"checkpoint of step {newest} is damaged") == 2


def test_accumulation_and_ranks_together(tmp_path, one_rank):
    for parallel in ("ddp", "fsdp"):
        folder = tmp_path / parallel
        launch(folder, 2, config={"dtype": "float32", "micro_batch_size": 1, "parallel": parallel})
        assert np.allclose(losses(folder), losses(one_rank), rtol=2e-5)


@pytest.mark.skipif(shutil.which("g++") is None, reason="needs a C++ compiler")
@pytest.mark.parametrize("num_ranks, parallel", [(1, "ddp"), (2, "ddp"), (2, "fsdp")])
def test_compiled_it_trains_the_same_run(tmp_path, one_rank, num_ranks, parallel):
    config = {"dtype": "float32", "compile": True, "parallel": parallel, "rank_timeout_seconds": 170}
    result = launch(tmp_path / "run", num_ranks, config=config)
    assert result.returncode == 0, result.stderr
    assert np.allclose(losses(tmp_path / "run"), losses(one_rank), rtol=2e-5)


def test_not_a_number_on_one_rank_stops_all_before_the_update(tmp_path):
    result = launch(tmp_path / "run", 2, poison_rank=1, poison_at=4)
    assert result.returncode != 0
    assert result.stderr.count("at step 5: stopped before the update") == 2
    assert max(path.name for path in (tmp_path / "run/checkpoints").iterdir()) == "step-00000004"


@pytest.mark.parametrize("fault", ["die_at", "hang_at"])
def test_a_dead_or_hanging_rank_ends_the_others_and_a_relaunch_resumes(tmp_path, one_rank, fault):
    config = {"dtype": "float32", "rank_timeout_seconds": 8}
    result = launch(tmp_path / "run", 2, seconds=60, rank=1, config=config, **{fault: 5})
    assert result.returncode != 0
    assert "this rank went on" not in result.stderr  # ended by the others, not by its own waking
    train(tmp_path / "run", config=train_config(dtype="float32"))
    assert windows(tmp_path / "run") == windows(one_rank)


def test_ranks_that_do_not_divide_the_batch_are_refused(tmp_path):
    with pytest.raises(RecipeError, match="3 ranks do not divide the batch of 4"):
        World(0, 3, torch.device("cpu")).part(4)
    result = launch(tmp_path / "run", 3)
    assert result.returncode != 0
    assert "multiple of 3" in result.stderr
