"""The switch reaches torch on a GPU, does nothing on a CPU, and leaves torch as it was."""

from __future__ import annotations

import os

import pytest
import torch

from megadocs.train.determinism import deterministic_kernels
from train.runs import train, train_config

GPU, CPU = torch.device("cuda", 0), torch.device("cpu")


def settings():
    return (
        torch.are_deterministic_algorithms_enabled(),
        torch.backends.cudnn.benchmark,
        torch.utils.deterministic.fill_uninitialized_memory,
    )


def test_on_a_gpu_torch_is_told_inside_and_only_there(monkeypatch):
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    before = settings()
    with deterministic_kernels(train_config(deterministic=True), GPU):
        assert settings() == (True, False, False)
        assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"
    assert settings() == before
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG")


@pytest.mark.parametrize("asked, device", [(False, GPU), (True, CPU)])
def test_off_or_on_a_cpu_nothing_changes(asked, device):
    before = settings()
    with deterministic_kernels(train_config(deterministic=asked), device):
        assert settings() == before


def test_a_run_trains_inside_the_switch(tmp_path, monkeypatch):
    import megadocs.train.loop as loop

    seen = []
    monkeypatch.setattr(
        loop, "deterministic_kernels", lambda config, device: deterministic_kernels(config, GPU)
    )  # a CPU run that takes itself for a GPU's

    def read(step):
        seen.append(settings()[0])
        return read_random(step)

    from train.runs import read_random

    train(tmp_path / "on", num_steps=2, config=train_config(deterministic=True), read_batch=read)
    train(tmp_path / "off", num_steps=2, config=train_config(), read_batch=read)
    assert seen == [True, True, False, False]
    assert not torch.are_deterministic_algorithms_enabled()
    curves = [(tmp_path / name / "model/model.safetensors").read_bytes() for name in ("on", "off")]
    assert curves[0] == curves[1]  # on a CPU the same kernels run
