"""Streamed attention against torch's own over growing caches: groups, chunks' borders, padding, leaving sequences."""

from __future__ import annotations

import dataclasses

import pytest
import torch
import torch.nn.functional as F

from megadocs.model.config import resolve_config
from megadocs.model.kv_cache import KeyValueCache
from megadocs.recipe.training import ModelConfig

BATCH, LENGTH, WIDTH = 3, 140, 8


def cache_and_heads(heads, groups, dtype=torch.float32):
    config = resolve_config(ModelConfig(preset="tiny"), vocab_size=60, context_length=256)
    config = dataclasses.replace(config, num_attention_heads=heads, num_key_value_heads=groups, head_dim=WIDTH)
    cache = KeyValueCache(config, num_sequences=BATCH, length=LENGTH, dtype=dtype, device=torch.device("cpu"))
    generator = torch.Generator().manual_seed(0)
    return cache, torch.randn(4, BATCH, LENGTH, heads + 2 * groups, WIDTH, generator=generator)


def reference(qkv_BTHW, groups, bias=None):
    """Attention of the last position, (B, E)."""
    q, k, v = qkv_BTHW.transpose(1, 2).split([qkv_BTHW.shape[2] - 2 * groups, groups, groups], dim=1)
    out = F.scaled_dot_product_attention(q[:, :, -1:], k, v, attn_mask=bias, scale=1.0, enable_gqa=True)
    return out.flatten(1)


@pytest.mark.parametrize(("heads", "groups"), [(4, 4), (4, 2), (4, 1)])
@pytest.mark.parametrize("prompt", [1, 5, 64, 70])
def test_every_position_attends_to_all_so_far(heads, groups, prompt):
    cache, layers = cache_and_heads(heads, groups)
    bias = torch.full((prompt, prompt), -torch.inf).triu(1)[None, None] if prompt > 1 else None
    step = cache.advance(prompt, bias)
    for layer in range(4):
        out = cache.attend(step, layer, layers[layer, :, :prompt])
        expected = reference(layers[layer, :, :prompt], groups)
        torch.testing.assert_close(out.view(BATCH, prompt, -1)[:, -1], expected, rtol=1e-4, atol=1e-5)
    for position in range(prompt, LENGTH):
        step = cache.advance(1, None)
        for layer in range(4):
            out = cache.attend(step, layer, layers[layer, :, position : position + 1])
            torch.testing.assert_close(out, reference(layers[layer, :, : position + 1], groups), rtol=1e-4, atol=1e-5)


def test_padding_is_not_seen_and_sequences_leave():
    cache, layers = cache_and_heads(4, 2)
    heads = layers[0]
    padding = torch.tensor([0, 3, 7])
    for position in range(100):
        if position == 70:
            kept = torch.tensor([2, 0])
            cache.keep(kept)
            heads, padding = heads[kept], padding[kept]
        seen = (torch.arange(position + 1) >= padding[:, None]) | (torch.arange(position + 1) == position)
        bias = torch.zeros(seen.shape).masked_fill(~seen, -torch.inf)[:, None, None]
        out = cache.attend(cache.advance(1, bias), 0, heads[:, position : position + 1])
        torch.testing.assert_close(out, reference(heads[:, : position + 1], 2, bias), rtol=1e-4, atol=1e-5)


def test_bfloat16_is_float32_but_for_rounding():
    cache, layers = cache_and_heads(4, 2, torch.bfloat16)
    for position in range(100):
        out = cache.attend(cache.advance(1, None), 0, layers[0, :, position : position + 1])
    expected = reference(layers[0, :, :100], 2)
    assert out.dtype == torch.bfloat16
    assert (out - expected).abs().max() < 0.03 * expected.abs().max()
