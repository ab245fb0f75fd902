"""Sections say what decides a result and what does not."""

from __future__ import annotations

import pytest

from megadocs.recipe import EngineConfig, EvaluateConfig, GenerateConfig, SampleConfig, TrainConfig


def test_defaults_and_operational_fields_are_no_part_of_an_identity():
    assert TrainConfig().identity() == {}
    config = TrainConfig(learning_rate=0.1, device="cpu", log_every_steps=3)
    assert config.identity() == {"learning_rate": 0.1}
    assert config.identity(as_of_0_1=True) == {"learning_rate": 0.1, "device": "cpu"}


@pytest.mark.parametrize(
    ("section", "names"),
    [
        (EvaluateConfig, {"batch_size"}),
        (SampleConfig, {"batch_size"}),
        (EngineConfig, {"base_url", "num_servers", "num_threads", "concurrency", "command"}),
        (GenerateConfig, {"attempt_timeout_seconds", "limits", "allow_remote"}),
    ],
)
def test_what_is_operational(section, names):
    assert names <= set(section.operational_fields())
