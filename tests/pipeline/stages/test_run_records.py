"""A finished run's facts: what the recipe planned and what training did are two numbers each."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from megadocs.errors import DamagedError
from megadocs.pipeline.stages.run_records import FinishedRun
from megadocs.recipe import MixtureConfig, ModelConfig, StreamConfig, TrainConfig
from megadocs.store.artifact import Artifact

STREAM = {"num_rows": 9, "num_tokens": 500, "num_windows": 4, "num_dropped_tokens": 0, "num_missing": 0}


def finished(**summary: Any) -> FinishedRun:
    sections = {"train": TrainConfig(), "mixture": MixtureConfig(), "stream": StreamConfig(), "model": ModelConfig()}
    config = {name: section.model_dump(mode="json") for name, section in sections.items()}
    streams = [
        {**STREAM, "name": "real", "planned_epochs": 16.0, "actual_epochs": 15.5, "num_windows_trained": 62},
        {**STREAM, "name": "rephrase", "planned_epochs": 8.25, "actual_epochs": 8.0, "num_windows_trained": 32},
    ]
    facts = {"num_real_documents": 3, "num_real_tokens": 500, "num_tokens": 9_000, "num_steps": 11, "streams": streams}
    facts |= {"training_seconds": 2.0, "flops": 1e9, "num_parameters": 70, "final_training_loss": 2.5, **summary}
    train = Artifact(Path("ws/train/aa"), "train", "aa", {"summary": facts, "config": config})
    return FinishedRun("simple", 0, train, Artifact(Path("ws/evaluate/bb"), "evaluate", "bb", {}))


def test_planned_and_actual_epochs_are_kept_apart() -> None:
    facts = finished().facts()
    assert (facts.planned_real_epochs, facts.real_epochs) == (16.0, 15.5)
    assert (facts.planned_synthetic_epochs, facts.synthetic_epochs) == (8.25, 8.0)
    assert (facts.real_tokens, facts.synthetic_tokens, facts.train_tokens) == (500, 500, 9_000)
    assert [(row.planned_epochs, row.actual_epochs) for row in finished().streams()] == [(16.0, 15.5), (8.25, 8.0)]


def test_a_record_without_a_part_is_damaged() -> None:
    run = finished()
    del run.train.record["summary"]["flops"]
    with pytest.raises(DamagedError, match="lacks 'flops'"):
        run.facts()
