"""The plain bfloat16 attention against the exact one, values and gradients."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from megadocs.model.attention import attention_mask, causal_attention


@pytest.mark.parametrize("groups", [4, 2, 1])
@pytest.mark.parametrize("masked", [False, True])
def test_bfloat16_is_near_the_exact_result_and_gradient(groups, masked):
    generator = torch.Generator().manual_seed(0)
    q, k, v = (torch.randn(2, heads, 24, 16, generator=generator) for heads in (4, groups, groups))
    segments = torch.tensor([[0] * 10 + [1] * 14, [3] * 24]) if masked else None
    mask = attention_mask(segments)
    weight = torch.randn(2, 4, 24, 16, generator=generator)
    results = []
    for dtype in (torch.float32, torch.bfloat16):
        leaves = [tensor.detach().to(dtype, copy=True).requires_grad_() for tensor in (q, k, v)]
        out = causal_attention(*leaves, mask)
        (out * weight.to(dtype)).sum().backward()
        results.append([out.float(), *(leaf.grad.float() for leaf in leaves)])
    for exact, rounded in zip(*results, strict=True):
        assert ((exact - rounded).norm() / exact.norm()).item() < 0.015


def test_exact_result_by_hand():
    q = k = torch.zeros(1, 1, 3, 2)
    v = torch.tensor([[[[1.0, 0.0], [0.0, 1.0], [2.0, 2.0]]]])
    expected = torch.tensor([[[[1.0, 0.0], [0.5, 0.5], [1.0, 1.0]]]])
    assert torch.allclose(causal_attention(q, k, v), expected)
    assert torch.allclose(causal_attention(q.bfloat16(), k.bfloat16(), v.bfloat16()).float(), expected, atol=0.01)


def test_mask_is_causal_inside_each_segment():
    mask = attention_mask(torch.tensor([[7, 7, 9]]))
    assert mask[0, 0].tolist() == [[True, False, False], [True, True, False], [False, False, True]]
    assert F.scaled_dot_product_attention(*[torch.ones(1, 1, 3, 2)] * 3, attn_mask=mask).isfinite().all()
