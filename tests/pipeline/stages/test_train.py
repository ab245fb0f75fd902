"""Rates that training leaves for plans are those of a core with nothing else to do."""

import pytest
import torch

from megadocs.pipeline.stages import train
from megadocs.recipe import TrainConfig


def share(**config) -> float:
    return train.core_share(TrainConfig(**config).model_dump(mode="json"), clock_seconds=8.0, processor_seconds=2.0)


def test_a_run_beside_other_work_had_a_part_of_its_core(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert share() == share(device="cpu") == 0.25
    assert train.core_share(TrainConfig().model_dump(mode="json"), 2.0, 3.9) == 1.0  # two threads
    assert share(num_processes=2) == 1.0
    monkeypatch.setattr(train, "is_rank", lambda: True)
    assert share() == 1.0


def test_on_a_gpu_the_clock_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert share() == 1.0
    assert share(device="cpu") == 0.25
