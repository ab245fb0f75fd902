"""Training on several processes: started by the pipeline, or by torchrun on the command line."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys

import numpy as np
import pytest

from megadocs.errors import RecipeError
from megadocs.recipe import load_recipe, select_runs
from pipeline.corpora import write_recipe, write_texts
from pipeline.processes import wait_until

ONE_RUN = ("--arm", "simple", "--seed", "0")
FAST = ("train.checkpoint_minutes=0.00001", "train.dtype=float32")


def megadocs(*arguments):
    return subprocess.run([sys.executable, "-m", "megadocs", *map(str, arguments)], capture_output=True, text=True)


def torchrun(num_ranks, *arguments):
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={num_ranks}"]
    return subprocess.run([*command, "-m", "megadocs", *map(str, arguments)], capture_output=True, text=True)


def losses(workspace):
    (metrics,) = workspace.glob("train/*/metrics.jsonl")
    records = [json.loads(line) for line in metrics.read_text().splitlines()]
    return [record["windows"] for record in records], np.array([record["loss"] for record in records])


def test_one_run_of_a_recipe_is_named_by_arm_and_seed(toy_recipe):
    recipe = load_recipe(toy_recipe)
    one = select_runs(recipe, arm="simple", seed=1)
    assert list(one.arms) == ["simple"]
    assert one.seeds == [1]
    with pytest.raises(RecipeError, match="no arm 'simpl'"):
        select_runs(recipe, arm="simpl")
    with pytest.raises(RecipeError, match="no seed 7"):
        select_runs(recipe, seed=7)


def test_ranks_that_do_not_divide_the_batch_are_refused_before_anything_runs(toy_recipe, tmp_path):
    done = megadocs("train", toy_recipe, "train.num_processes=3", "--workspace", tmp_path / "ws")
    assert done.returncode == 2
    assert "3 ranks do not divide train.batch_size 4" in done.stderr
    assert not (tmp_path / "ws").exists()


@pytest.fixture(scope="module")
def one_process(tmp_path_factory, split_tokenizer):
    """The recipe, its rows, and one run trained in one process."""
    root = tmp_path_factory.mktemp("ranks")
    recipe = write_recipe(root / "toy.yaml", write_texts(root / "texts", 40), split_tokenizer)
    done = megadocs("rows", recipe, "--workspace", root / "rows")
    assert done.returncode == 0, done.stderr
    shutil.copytree(root / "rows", root / "ws")
    done = megadocs("train", recipe, *FAST, *ONE_RUN, "--workspace", root / "ws")
    assert done.returncode == 0, done.stderr
    return recipe, root / "rows", root / "ws"


@pytest.mark.slow
@pytest.mark.parametrize("parallel", ["ddp", "fsdp"])
def test_a_recipe_trains_on_two_processes(one_process, tmp_path, parallel):
    recipe, rows, expected = one_process
    workspace = shutil.copytree(rows, tmp_path / "ws")
    options = (*FAST, *ONE_RUN, "train.num_processes=2", f"train.parallel={parallel}", "--workspace", workspace)
    done = megadocs("train", recipe, *options)
    assert done.returncode == 0, done.stderr
    (ours,), (theirs,) = losses(workspace)[:1], losses(expected)[:1]
    assert ours == theirs
    assert np.allclose(losses(workspace)[1], losses(expected)[1], rtol=1e-4)
    names = [sorted(path.name for path in root.glob("train/*/*")) for root in (workspace, expected)]
    assert names[0] == names[1]
    assert json.loads(megadocs("verify", workspace, "--json").stdout)["problems"] == []
    again = megadocs("train", recipe, *FAST, *ONE_RUN, "--workspace", workspace)  # the same run for one process
    assert "0 steps done" in again.stderr


@pytest.mark.slow
def test_torchrun_trains_one_run_and_the_first_rank_publishes(one_process, tmp_path):
    recipe, rows, expected = one_process
    workspace = shutil.copytree(rows, tmp_path / "ws")
    done = torchrun(2, "train", recipe, *FAST, *ONE_RUN, "--workspace", workspace)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("the model is in") == 1
    assert losses(workspace)[0] == losses(expected)[0]
    assert json.loads(megadocs("verify", workspace, "--json").stdout)["problems"] == []
    without_rows = torchrun(2, "train", recipe, *ONE_RUN, "--workspace", tmp_path / "empty")
    assert without_rows.returncode != 0
    assert "run `megadocs rows`" in without_rows.stderr
    several = torchrun(2, "train", recipe, "--workspace", workspace)
    assert "several ranks train one run" in several.stderr
    whole = torchrun(2, "run", recipe, "--workspace", workspace)
    assert "one of several ranks" in whole.stderr


def running_run(recipe, workspace, *options):
    """Train on two processes until there are new records; the process and the unfinished run's folder."""
    before = sum(path.read_bytes().count(b"\n") for path in workspace.glob("train/*.partial/metrics.jsonl"))
    command = [sys.executable, "-m", "megadocs", "train", recipe, *FAST, *ONE_RUN, *options, "--workspace", workspace]
    process = subprocess.Popen(list(map(str, command)), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def folder():
        assert process.poll() is None, process.communicate()[0]
        found = list(workspace.glob("train/*.partial/metrics.jsonl"))
        return found[0].parent if found and found[0].read_bytes().count(b"\n") > before + 5 else None

    return process, wait_until(folder, 90)


@pytest.mark.slow
def test_stopped_and_killed_it_resumes_with_another_number_of_processes(one_process, tmp_path):
    recipe, rows, _ = one_process
    workspace = shutil.copytree(rows, tmp_path / "ws")
    long = ("train.real_epochs=8", "train.num_processes=2")
    process, folder = running_run(recipe, workspace, *long, "train.parallel=fsdp")
    process.send_signal(signal.SIGTERM)
    wait_until(lambda: process.poll() is not None, 60)
    assert process.returncode == 143
    assert max(folder.glob("checkpoints/step-*"))
    process, folder = running_run(recipe, workspace, *long)
    ranks = processes_naming(str(folder))
    assert len(ranks) >= 3  # torchrun and two ranks
    process.kill()
    for worker in processes_naming(str(workspace), "megadocs.pipeline.execute.worker"):
        os.kill(worker, signal.SIGKILL)
    wait_until(lambda: not processes_naming(str(folder)), 20)
    done = megadocs("train", recipe, *FAST, *ONE_RUN, "train.real_epochs=8", "--workspace", workspace)
    assert done.returncode == 0, done.stderr
    other = shutil.copytree(rows, tmp_path / "other")
    megadocs("train", recipe, *FAST, *ONE_RUN, "train.real_epochs=8", "--workspace", other)
    assert losses(workspace)[0] == losses(other)[0]
    assert np.allclose(losses(workspace)[1], losses(other)[1], rtol=1e-3)


def processes_naming(*words):
    """Ids of the processes whose command line holds every word."""
    found = []
    for entry in os.listdir("/proc"):  # noqa: PTH208
        if entry.isdigit():
            try:
                with open(f"/proc/{entry}/cmdline", "rb") as file:  # noqa: PTH123
                    line = file.read().decode().replace("\0", " ")
            except OSError:
                continue
            if all(word in line for word in words):
                found.append(int(entry))
    return found
