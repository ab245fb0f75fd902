"""Presets: the paper's parameter counts, the formula against real modules, refusals."""

from __future__ import annotations

import pytest
import torch

from megadocs.errors import RecipeError
from megadocs.model import PRESETS, Llama, resolve_config
from megadocs.recipe.training import ModelConfig


@pytest.mark.parametrize(
    "preset, expected", [("150m", 154_147_328), ("300m", 299_649_792), ("600m", 602_457_088), ("1_5b", 1_540_732_416)]
)
def test_the_papers_presets_have_its_parameter_counts(preset, expected):
    config = resolve_config(ModelConfig(preset=preset), vocab_size=128_256, context_length=4096)
    assert config.num_parameters == expected
    with torch.device("meta"):
        assert sum(parameter.numel() for parameter in Llama(config).parameters()) == expected


def test_tiny_is_the_demos_model():
    assert resolve_config(ModelConfig(), vocab_size=2048, context_length=256).num_parameters == 1_328_256


@pytest.mark.parametrize("preset, vocab_size", [("5m", 4096), ("20m", 8192), ("60m", 8192)])
def test_named_sizes_are_within_a_tenth_of_their_name(preset, vocab_size):
    config = resolve_config(ModelConfig(preset=preset), vocab_size=vocab_size, context_length=256)
    assert abs(config.num_parameters / (int(preset[:-1]) * 1e6) - 1) < 0.1


@pytest.mark.parametrize("tied", [False, True])
def test_formula_equals_the_modules(tied):
    recipe = ModelConfig(num_attention_heads=4, num_key_value_heads=2, intermediate_size=96, tie_word_embeddings=tied)
    config = resolve_config(recipe, vocab_size=50, context_length=16)
    assert sum(parameter.numel() for parameter in Llama(config).parameters()) == config.num_parameters


def test_flops_of_a_tiny_model_by_hand():
    config = resolve_config(ModelConfig(num_hidden_layers=1), vocab_size=10, context_length=8)
    # per token: q, k, v, o = 4 x 128 x 128; feed-forward 3 x 128 x 352; head 10 x 128; three norms of 128.
    weights = 4 * 128 * 128 + 3 * 128 * 352 + 10 * 128 + 3 * 128
    # half of 8 positions, 128 wide, two products, 2 FLOPs each, forward and twice that backward
    assert config.flops_per_token(8) == 6 * weights + 3 * (2 * 2 * 128 * 8 / 2)


@pytest.mark.parametrize(
    "overrides", [{"num_attention_heads": 3}, {"num_attention_heads": 4, "num_key_value_heads": 3}]
)
def test_heads_that_do_not_divide_are_refused_with_the_key(overrides):
    with pytest.raises(RecipeError) as caught:
        resolve_config(ModelConfig(**overrides), vocab_size=10, context_length=8)
    assert caught.value.where is not None
    assert caught.value.where.startswith("model.num_")


def test_every_preset_resolves():
    for preset in PRESETS:
        assert resolve_config(ModelConfig(preset=preset), vocab_size=10, context_length=8).head_dim >= 64
