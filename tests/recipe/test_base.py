"""Sections say what decides a result and what does not."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from megadocs.recipe import EngineConfig, EvaluateConfig, GenerateConfig, MixtureConfig, SampleConfig, TrainConfig
from megadocs.recipe.search import AxisConfig


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


@pytest.mark.parametrize(
    ("model", "values"),
    [
        (TrainConfig, {"batch_size": True}),
        (TrainConfig, {"learning_rate": False}),
        (TrainConfig, {"micro_batch_size": True}),
        (MixtureConfig, {"synthetic_fraction": True}),
        (MixtureConfig, {"max_windows": {"real": True}}),
        (AxisConfig, {"values": [True, 2]}),
    ],
)
def test_true_is_no_number(model, values):
    """YAML reads `yes`, `no`, `on` and `off` as true and false, which count as 1 and 0 elsewhere."""
    with pytest.raises(ValidationError, match="are no numbers"):
        model.model_validate(values)


def test_true_is_taken_where_it_means_something():
    assert TrainConfig.model_validate({"compile": True}).compile is True
