"""Attention over pages against torch's own: groups, pages' borders, ragged lengths, shared pages, chunks of prompts."""

from __future__ import annotations

import dataclasses

import pytest
import torch
import torch.nn.functional as F

from megadocs.model.config import resolve_config
from megadocs.model.paged_cache import PAGE_POSITIONS, PagedCache
from megadocs.recipe.training import ModelConfig

WIDTH = 8


def build_cache(heads, groups, dtype=torch.float32):
    config = resolve_config(ModelConfig(preset="tiny"), vocab_size=60, context_length=256)
    config = dataclasses.replace(config, num_attention_heads=heads, num_key_value_heads=groups, head_dim=WIDTH)
    return PagedCache(config, num_pages=12, dtype=dtype, device=torch.device("cpu"))


def heads_of(length, heads, groups, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(length, heads + 2 * groups, WIDTH, generator=generator).split([heads, groups, groups], dim=1)


def write(cache, layer, k, v, table, start=0):
    positions = torch.arange(start, start + len(k))
    cache.write(layer, k, v, torch.tensor(table)[positions // PAGE_POSITIONS], positions % PAGE_POSITIONS)


def reference(q, k, v):
    """Causal attention of the last len(q) positions, (T, E)."""
    seen = torch.ones(len(q), len(k), dtype=torch.bool).tril(len(k) - len(q))
    q, k, v = (x.transpose(0, 1)[None] for x in (q, k, v))
    out = F.scaled_dot_product_attention(q, k, v, attn_mask=seen, scale=1.0, enable_gqa=True)
    return out[0].transpose(0, 1).flatten(1)


def bias_for(lengths, index):
    places = torch.arange(index.num_pages * PAGE_POSITIONS)
    return torch.zeros(len(lengths), len(places)).masked_fill(places >= torch.tensor(lengths)[:, None], -torch.inf)


@pytest.mark.parametrize(("heads", "groups"), [(4, 4), (4, 2), (4, 1)])
@pytest.mark.parametrize("lengths", [[1, 1, 1], [64, 65, 63], [140, 3, 190], [128]])
@pytest.mark.parametrize("layer", [0, 3])
def test_one_query_a_sequence_over_its_own_pages(heads, groups, lengths, layer):
    cache, tables, free = build_cache(heads, groups), [], iter([7, 2, 9, 1, 11, 4, 10, 3, 5])
    data = [heads_of(length, heads, groups, seed) for seed, length in enumerate(lengths)]
    for length, (_, k, v) in zip(lengths, data, strict=True):
        tables.append([next(free) for _ in range(-(-length // PAGE_POSITIONS))])
        write(cache, layer, k, v, tables[-1])
    index = cache.index(tables)
    queries = torch.stack([q[-1] for q, _, _ in data])
    expected = torch.cat([reference(q[-1:], k, v) for q, k, v in data])
    got = cache.attend(layer, queries, index, bias_for(lengths, index))
    torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-5)
    gathered = cache._attend_gathered(layer, queries, index, bias_for(lengths, index))  # as on a GPU
    torch.testing.assert_close(gathered, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("chunks", [[1], [150], [64, 64, 22], [5, 100, 45]])
def test_a_prompt_read_in_chunks_is_causal_attention(chunks):
    cache, length = build_cache(4, 2), sum(chunks)
    q, k, v = heads_of(length, 4, 2)
    start, parts = 0, []
    for size in chunks:
        stop = start + size
        write(cache, 1, k[start:stop], v[start:stop], [5, 2, 8], start)
        pages = torch.tensor([5, 2, 8][: -(-stop // PAGE_POSITIONS)])
        parts.append(cache.attend_prompt(1, q[start:stop], pages, start))
        start = stop
    torch.testing.assert_close(torch.cat(parts), reference(q, k, v), rtol=1e-4, atol=1e-5)


def test_shared_pages_and_a_copied_one():
    cache = build_cache(4, 2)
    q, k, v = heads_of(100, 4, 2)
    write(cache, 0, k, v, [3, 6])
    cache.copy_page(6, 9)
    for seed, table in ((1, [3, 6]), (2, [3, 9])):  # the two go on differently from position 100
        more = heads_of(10, 4, 2, seed)
        write(cache, 0, more[1], more[2], table, start=100)
    index = cache.index([[3, 6], [3, 9]])
    got = cache.attend(0, torch.stack([q[0], q[0]]), index, bias_for([110, 110], index))
    for line, seed in enumerate((1, 2)):
        more = heads_of(10, 4, 2, seed)
        expected = reference(q[:1], torch.cat([k, more[1]]), torch.cat([v, more[2]]))
        torch.testing.assert_close(got[line : line + 1], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_float32_but_for_rounding(dtype):
    cache = build_cache(4, 2, dtype)
    q, k, v = heads_of(100, 4, 2)
    write(cache, 0, k, v, [1, 2])
    index = cache.index([[1, 2]])
    out = cache.attend(0, q[-1:], index, bias_for([100], index).to(dtype))
    expected = reference(q[-1:], k, v)
    assert out.dtype == dtype
    assert (out - expected).abs().max() < 0.03 * expected.abs().max()
