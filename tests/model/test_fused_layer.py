"""The layer as one function against the layer taken apart: output and every gradient."""

from __future__ import annotations

import pytest
import torch

from megadocs.model.llama import build_model
from megadocs.recipe.training import ModelConfig

SHAPE = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4}


def build(seed=0, **changes):
    model = build_model(ModelConfig(**SHAPE | changes), vocab_size=50, context_length=20, seed=seed)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, parameter in model.named_parameters():  # norms of ones would hide a lost factor
            if "norm" in name:
                parameter.add_(0.3 * torch.randn(parameter.shape, generator=generator))
            else:
                parameter.mul_(2.0)
    return model


def loss_and_gradients(model, tokens, segments, *, is_fused, dtype):
    model.compute_dtype, model._is_compiled = dtype, not is_fused
    model.zero_grad()
    loss = model(tokens, segments, loss_scale=1 / tokens.numel())
    loss.backward()
    return {"loss": loss.detach(), **{name: p.grad.clone() for name, p in model.named_parameters()}}


def distance(wanted, got):
    return ((wanted - got.float()).norm() / wanted.norm()).item()


def flat(found):
    return torch.cat([x.flatten() for x in found.values()])


@pytest.mark.parametrize("kv_heads", [4, 2, 1])
@pytest.mark.parametrize("has_segments", [False, True])
def test_value_and_gradients_equal_those_of_the_parts(kv_heads, has_segments):
    model = build(num_key_value_heads=kv_heads)
    tokens = torch.randint(0, 50, (3, 20), generator=torch.Generator().manual_seed(2))
    segments = (tokens < 12).cumsum(1) if has_segments else None
    expected = loss_and_gradients(model, tokens, segments, is_fused=False, dtype=torch.float32)
    fused = loss_and_gradients(model, tokens, segments, is_fused=True, dtype=torch.float32)
    for name, wanted in expected.items():
        assert distance(wanted, fused[name]) < 2e-5, name


@pytest.mark.parametrize("kv_heads", [4, 2, 1])
@pytest.mark.parametrize("has_segments", [False, True])
def test_bfloat16_rounds_no_more_than_the_parts_do(kv_heads, has_segments):
    far = dict.fromkeys(("parts", "fused"), 0.0)
    for seed in range(20):
        model = build(seed, num_key_value_heads=kv_heads)
        tokens = torch.randint(0, 50, (3, 20), generator=torch.Generator().manual_seed(seed))
        segments = (tokens < 12).cumsum(1) if has_segments else None
        exact = flat(loss_and_gradients(model, tokens, segments, is_fused=False, dtype=torch.float32))
        for name in far:
            found = loss_and_gradients(model, tokens, segments, is_fused=name == "fused", dtype=torch.bfloat16)
            assert {x.dtype for x in found.values()} == {torch.float32}
            far[name] += distance(exact, flat(found))
    assert far["fused"] < 1.15 * far["parts"]  # of one model either may be the nearer; summed, .68 to 1.08 here


def test_no_gradient_keeps_nothing_and_gives_the_same():
    model = build()
    tokens = torch.randint(0, 50, (2, 20), generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        without = model(tokens)
    assert not without.requires_grad
    assert torch.equal(without, model(tokens))
