"""The sections `evaluate`, `ensembles` and `generate.sample`: shorthands, and what is refused."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from megadocs.recipe import EnsembleConfig, EvaluateConfig, MembersConfig, SampleConfig


def test_a_text_stands_for_a_source():
    config = EvaluateConfig.model_validate({"sets": {"arxiv": "papers/", "long": {"past": [100]}}})
    assert config.sets["arxiv"].source == "papers/"
    assert config.sets["long"].source is None
    assert EvaluateConfig.model_validate(config.model_dump(mode="json")) == config


@pytest.mark.parametrize(
    ("config", "complaint"),
    [
        ({"sets": {"test": "a/"}}, "not validation or test"),
        ({"sets": {"a b": "a/"}}, "set name 'a b'"),
        ({"sets": {"a": {"past": [5, 2]}}}, "ascending"),
        ({"sets": {"a": {"past": [0]}}}, "at least 1"),
        ({"benchmarks": ["piqa", "piqa"]}, "named twice"),
        ({"benchmark_data": {"piqa": "hub"}}, "not among the benchmarks"),
    ],
)
def test_what_cannot_be_scored_is_refused(config, complaint):
    with pytest.raises(ValidationError, match=complaint):
        EvaluateConfig.model_validate(config)


@pytest.mark.parametrize(
    "config", [{"seeds": [0], "num_members": 2}, {"seeds": [1, 1]}, {"seeds": [-1]}, {"seeds": []}, {"num_members": 0}]
)
def test_members_are_named_one_way(config):
    with pytest.raises(ValidationError):
        MembersConfig.model_validate({"arm": "a"} | config)


def test_defaults_are_the_papers():
    assert EnsembleConfig(arm="a").subsets == "prefixes"
    sample = SampleConfig.model_validate({"teacher": {"arm": "a"}, "num_samples": 3})
    assert (sample.temperature, sample.max_new_tokens, sample.teacher.mix) == (1.0, None, "logits")
