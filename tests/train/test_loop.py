"""Whole small runs: determinism, resume, refusals, stops, files."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from megadocs.errors import DamagedError, StoreError, TrainingError
from megadocs.train import loop
from megadocs.train.metrics_log import read_metrics
from megadocs.train.signals import TrainingInterrupted
from train.runs import VOCAB, read_random, train, train_config

VOLATILE = ("seconds", "tokens_per_second", "mfu")


def curve(output_dir):
    records = read_metrics(output_dir / "metrics.jsonl")
    return [{key: value for key, value in record.items() if key not in VOLATILE} for record in records]


def last_state(output_dir):
    newest = max((output_dir / "checkpoints").iterdir())
    return load_file(newest / "tensors.safetensors")


def assert_same_run(first, second):
    assert curve(first) == curve(second)
    left, right = last_state(first), last_state(second)
    assert left.keys() == right.keys()
    assert all(torch.equal(left[name], right[name]) for name in left)
    assert (first / "model/model.safetensors").read_bytes() == (second / "model/model.safetensors").read_bytes()


class Stop(Exception):
    pass


def stop_at(step):
    def read(asked):
        if asked == step:
            raise Stop
        return read_random(asked)

    return read


def test_two_runs_are_bitwise_equal_and_learn(tmp_path):
    first, second = (train(tmp_path / name) for name in "ab")
    assert_same_run(tmp_path / "a", tmp_path / "b")
    assert first.num_tokens == 12 * 4 * 16
    assert first.final_loss == second.final_loss == curve(tmp_path / "a")[-1]["loss"]
    repeated = train(tmp_path / "c", num_steps=60, read_batch=lambda step: read_random(0))
    assert repeated.final_loss < 1.0 < curve(tmp_path / "c")[0]["loss"]


@pytest.mark.parametrize("at", [1, 5, 11])
def test_resume_is_bitwise_equal(tmp_path, at):
    train(tmp_path / "whole")
    with pytest.raises(Stop):
        train(tmp_path / "broken", read_batch=stop_at(at))
    asked = []
    train(tmp_path / "broken", read_batch=lambda step: asked.append(step) or read_random(step))
    assert asked == list(range(at, 12))
    assert_same_run(tmp_path / "whole", tmp_path / "broken")


def test_a_resumed_run_keeps_its_attention_kernel_whatever_is_measured_now(tmp_path, monkeypatch):
    config = train_config(dtype="bfloat16")

    def run(name, kernel, **options):
        monkeypatch.setattr(loop, "choose_kernel", lambda *arguments, **settings: kernel)
        return train(tmp_path / name, config=config, **options)

    summary = run("plain", "plain")
    run("fused", "fused")
    assert curve(tmp_path / "plain") != curve(tmp_path / "fused")  # so that a wrong kernel would show
    with pytest.raises(Stop):
        run("broken", "plain", read_batch=stop_at(5))
    assert run("broken", "fused").attention_kernel == summary.attention_kernel == "plain"
    assert_same_run(tmp_path / "plain", tmp_path / "broken")


def test_a_finished_run_returns_at_once(tmp_path):
    first = train(tmp_path / "run")
    assert train(tmp_path / "run", read_batch=stop_at(0)) == first


def test_records_past_the_checkpoint_are_dropped_on_resume(tmp_path):
    train(tmp_path / "whole")
    with pytest.raises(Stop):
        train(tmp_path / "broken", read_batch=stop_at(6))
    with (tmp_path / "broken/metrics.jsonl").open("a") as file:
        file.write('{"step":7,"loss":0.0}\n{"step":8,"lo')
    train(tmp_path / "broken")
    assert_same_run(tmp_path / "whole", tmp_path / "broken")


def test_accumulating_over_one_or_four_parts_gives_the_same_run(tmp_path):
    for micro in (4, 3, 1):
        train(tmp_path / str(micro), config=train_config(dtype="float32", micro_batch_size=micro))
    for micro in (3, 1):
        got, expected = (np.array([r["loss"] for r in curve(tmp_path / name)]) for name in (str(micro), "4"))
        assert np.allclose(got, expected, rtol=2e-5)


@pytest.mark.parametrize("bad", ["loss", "gradient"])
def test_a_number_that_is_none_stops_before_the_update(tmp_path, bad, monkeypatch):
    import megadocs.train.loop as loop

    with pytest.raises(Stop):
        train(tmp_path / "run", read_batch=stop_at(4))
    saved = sorted(path.name for path in (tmp_path / "run/checkpoints").iterdir())
    accumulate = loop.accumulate_gradients

    def poisoned(model, *arguments, **options):
        loss = accumulate(model, *arguments, **options)
        if bad == "loss":
            return loss * float("nan")
        model.lm_head.weight.grad[0, 0] = float("inf")
        return loss

    monkeypatch.setattr(loop, "accumulate_gradients", poisoned)
    with pytest.raises(TrainingError, match=r"step 5.*before the update") as caught:
        train(tmp_path / "run")
    assert "('real', 0, 16)" in caught.value.where
    assert sorted(path.name for path in (tmp_path / "run/checkpoints").iterdir()) == saved


def test_another_recipe_or_data_under_a_run_is_refused_field_by_field(tmp_path):
    with pytest.raises(Stop):
        train(tmp_path / "run", read_batch=stop_at(3), data_identity={"stream": "abc"})
    with pytest.raises(TrainingError) as caught:
        train(tmp_path / "run", config=train_config(learning_rate=0.5), data_identity={"stream": "abd"}, seed=1)
    for line in ("train.learning_rate: 0.01 -> 0.5", 'data.stream: "abc" -> "abd"', "seed: 0 -> 1"):
        assert line in str(caught.value)
    train(
        tmp_path / "run", config=train_config(micro_batch_size=2, keep_checkpoints=1), data_identity={"stream": "abc"}
    )


def test_a_damaged_newest_checkpoint_gives_way_or_is_refused(tmp_path, caplog):
    train(tmp_path / "whole")
    with pytest.raises(Stop):
        train(tmp_path / "broken", read_batch=stop_at(6))
    newest = max((tmp_path / "broken/checkpoints").iterdir()) / "tensors.safetensors"
    data = bytearray(newest.read_bytes())
    data[-3] ^= 1
    newest.write_bytes(data)
    with pytest.raises(DamagedError, match="other bytes"):
        train(tmp_path / "broken", strict_resume=True)
    train(tmp_path / "broken")
    assert "step 6 is damaged" in caplog.text
    assert_same_run(tmp_path / "whole", tmp_path / "broken")


def test_no_whole_checkpoint_left_is_an_error_not_a_new_start(tmp_path):
    with pytest.raises(Stop):
        train(tmp_path / "run", read_batch=stop_at(6))
    for folder in (tmp_path / "run/checkpoints").iterdir():
        (folder / "state.json").write_text("{}")
    with pytest.raises(DamagedError, match="no whole checkpoint"):
        train(tmp_path / "run")


def test_full_disk_during_a_save_keeps_the_older_checkpoints(tmp_path, monkeypatch):
    import safetensors.torch

    train(tmp_path / "whole")
    save_file = safetensors.torch.save_file

    def full(tensors, path, *rest, **options):
        if "00000005" in str(path):
            Path(path).write_bytes(b"half")
            raise OSError(28, "No space left on device")
        save_file(tensors, path, *rest, **options)

    monkeypatch.setattr(safetensors.torch, "save_file", full)
    with pytest.raises(StoreError, match=r"(?s)No space left.*MB are free"):
        train(tmp_path / "broken")
    assert sorted(path.name for path in (tmp_path / "broken/checkpoints").iterdir()) == [
        "step-00000003",
        "step-00000004",
    ]
    monkeypatch.undo()
    train(tmp_path / "broken")
    assert_same_run(tmp_path / "whole", tmp_path / "broken")


def test_sigterm_saves_and_names_its_exit_code(tmp_path):
    def read(step):
        if step == 5:
            os.kill(os.getpid(), signal.SIGTERM)
        return read_random(step)

    config = train_config(checkpoint_minutes=60)
    train(tmp_path / "whole", config=config)
    with pytest.raises(TrainingInterrupted) as caught:
        train(tmp_path / "broken", config=config, read_batch=read)
    assert caught.value.exit_code == 143
    assert [path.name for path in (tmp_path / "broken/checkpoints").iterdir()] == ["step-00000006"]
    train(tmp_path / "broken", config=config)
    assert_same_run(tmp_path / "whole", tmp_path / "broken")


def test_evaluations_are_logged_and_cost_no_state(tmp_path):
    config = train_config(evaluate_every_steps=5)
    train(tmp_path / "with", config=config, evaluate=lambda model: {"loss": float(model.training)})
    train(tmp_path / "without", config=config)
    records = curve(tmp_path / "with")
    assert [record for record in records if "evaluation" in record] == [
        {"step": step, "evaluation": {"loss": 0.0}} for step in (5, 10, 12)
    ]
    assert [record for record in records if "loss" in record] == curve(tmp_path / "without")


def test_exported_folder_loads_in_transformers(tmp_path):
    from transformers import AutoModelForCausalLM

    summary = train(tmp_path / "run", bos_id=1, eos_id=2)
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "run" / summary.model_dir)
    assert model.num_parameters() == summary.num_parameters
    assert model.config.vocab_size == VOCAB
    assert model.generation_config.eos_token_id == 2


KILLED_RUN = """
import sys
from pathlib import Path
sys.path.insert(0, {tests!r})
import torch
torch.set_num_threads(1)
from train.runs import read_random, train
train(Path(sys.argv[1]), num_steps=40)
"""


def run_until_killed(folder, step):
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED_RUN.format(tests=str(Path(__file__).parents[1])), str(folder)]
    )
    deadline = time.monotonic() + 60
    metrics = folder / "metrics.jsonl"
    while process.poll() is None and time.monotonic() < deadline:
        if metrics.exists() and metrics.read_bytes().count(b"\n") >= step:
            break
        time.sleep(0.0005)
    process.kill()
    process.wait()


def test_sigkill_and_resume_is_bitwise_equal(tmp_path):
    train(tmp_path / "whole", num_steps=40)
    for step in (3, 17, 30):
        run_until_killed(tmp_path / "broken", step)
    assert json.loads((tmp_path / "broken/run.json").read_text())["num_steps"] == 40
    train(tmp_path / "broken", num_steps=40)
    assert_same_run(tmp_path / "whole", tmp_path / "broken")
