"""Every attention kernel against the exact result, values and gradients, with and without boundaries."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from megadocs.model import attention
from megadocs.model.attention import (
    KERNELS,
    attention_backward,
    attention_forward,
    attention_mask,
    candidates,
    causal_attention,
    default_kernel,
    masked_attention,
    segment_groups,
)

#: Windows whose segments are short and long, one, interleaved (a document that comes back), and all single tokens.
SEGMENTS = torch.tensor([[5] * 3 + [9] * 21, [3] * 24, [1, 2] * 12, list(range(24))])


def reference(leaves, mask):
    q, k, v = leaves
    repeats = q.shape[1] // k.shape[1]
    k, v = (x.repeat_interleave(repeats, dim=1) for x in (k, v))
    allowed = torch.ones(24, 24, dtype=torch.bool).tril() if mask is None else mask
    scores = (q @ k.transpose(-1, -2) * q.shape[-1] ** -0.5).masked_fill(~allowed, float("-inf"))
    return scores.softmax(-1) @ v


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("groups", [4, 2, 1])
@pytest.mark.parametrize("segments", [None, SEGMENTS], ids=["whole", "segments"])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.bfloat16, 0.015)])
def test_every_kernel_equals_the_reference_and_its_gradient(kernel, groups, segments, dtype, tolerance, monkeypatch):
    monkeypatch.setattr(attention, "QUERY_BLOCK", 7)
    generator = torch.Generator().manual_seed(0)
    exact = [
        torch.randn(4, heads, 24, 16, generator=generator, dtype=torch.float64, requires_grad=True)
        for heads in (4, groups, groups)
    ]
    grad = torch.randn(4, 4, 24, 16, generator=generator, dtype=torch.float64)
    expected = reference(exact, attention_mask(segments))
    expected.backward(grad)
    q, k, v = (leaf.detach().to(dtype).transpose(1, 2) for leaf in exact)
    out, saved = attention_forward(q, k, v, kernel=kernel, groups=segment_groups(segments), save=True)
    grads = attention_backward(grad.to(dtype).transpose(1, 2), saved)
    pairs = [(expected, out), *((leaf.grad, got) for leaf, got in zip(exact, grads, strict=True))]
    for wanted, got in pairs:
        got = got.double().transpose(1, 2)
        assert ((wanted - got).norm() / wanted.norm()).item() < tolerance
    without, nothing = attention_forward(q, k, v, kernel=kernel, groups=segment_groups(segments), save=False)
    assert torch.equal(without, out)
    assert nothing == []


@pytest.mark.parametrize("kept_bytes", [0, 1 << 20])
def test_the_gradient_of_blocks_is_numerically_right(kept_bytes, monkeypatch):
    monkeypatch.setattr(attention, "QUERY_BLOCK", 3)
    monkeypatch.setattr(attention, "LONG_QUERY_BLOCK", 3)
    monkeypatch.setattr(attention, "PLAIN_MAX_CONTEXT", 6)
    monkeypatch.setattr(attention, "KEPT_BYTES", kept_bytes)
    generator = torch.Generator().manual_seed(0)
    leaves = [torch.randn(1, 2, 7, 4, generator=generator, dtype=torch.float64, requires_grad=True) for _ in range(3)]
    for kernel in ("plain", "blocks"):
        assert torch.autograd.gradcheck(lambda *x, kernel=kernel: causal_attention(*x, kernel), leaves)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_weights_made_again_are_the_same_bits_and_not_kept(dtype, monkeypatch):
    monkeypatch.setattr(attention, "PLAIN_MAX_CONTEXT", 100)
    monkeypatch.setattr(attention, "LONG_QUERY_BLOCK", 32)
    generator = torch.Generator().manual_seed(0)
    leaves = [torch.randn(2, 150, 3, 16, generator=generator).to(dtype).transpose(1, 2) for _ in range(3)]
    grad = torch.randn(2, 150, 3, 16, generator=generator).to(dtype).transpose(1, 2)
    found, saved = [], []
    for kept_bytes in (0, 1 << 30):
        monkeypatch.setattr(attention, "KEPT_BYTES", kept_bytes)
        inputs = [leaf.clone().requires_grad_() for leaf in leaves]
        sizes = []
        with torch.autograd.graph.saved_tensors_hooks(lambda x, into=sizes: into.append(x.numel()) or x, lambda x: x):
            out = causal_attention(*inputs, "blocks")
        found.append([out, *torch.autograd.grad(out, inputs, grad)])
        saved.append(sum(sizes))
    assert all(torch.equal(one, two) for one, two in zip(*found, strict=True))
    once = 2 * 3 * 150 * 16
    assert saved[0] == 3 * once
    assert saved[1] == 3 * once + 2 * 3 * sum(
        rows * stop for rows, stop in [(32, 32), (32, 64), (32, 96), (32, 128), (22, 150)]
    )


@pytest.mark.parametrize("kernel", KERNELS)
def test_exact_result_by_hand(kernel):
    q = k = torch.zeros(1, 1, 3, 2)
    v = torch.tensor([[[[1.0, 0.0], [0.0, 1.0], [2.0, 2.0]]]])
    expected = torch.tensor([[[[1.0, 0.0], [0.5, 0.5], [1.0, 1.0]]]])
    assert torch.allclose(causal_attention(q, k, v, kernel), expected)


def test_mask_is_causal_inside_each_segment():
    mask = attention_mask(torch.tensor([[7, 7, 9]]))
    assert mask[0, 0].tolist() == [[True, False, False], [True, True, False], [False, False, True]]
    assert masked_attention(*[torch.ones(1, 1, 3, 2)] * 3, mask).isfinite().all()


def test_every_position_belongs_to_one_sequence_of_its_segment_in_order():
    groups = segment_groups(SEGMENTS)
    positions = torch.cat([group.flat_M for group in groups])
    assert sorted(positions.tolist()) == list(range(SEGMENTS.numel()))
    for group in groups:
        for flat, is_token in zip(group.flat_SL, group.is_token_SL, strict=True):
            found = flat[is_token]
            assert is_token.tolist() == sorted(is_token.tolist(), reverse=True), "padding stands at the end"
            assert found.tolist() == sorted(found.tolist())
            assert len(set((found // 24).tolist())) == len(SEGMENTS.reshape(-1)[found].unique()) == 1
    assert {group.flat_SL.shape[1] for group in groups} == {16, 24}


def test_plain_attention_is_not_measured_where_its_scores_would_not_fit():
    assert candidates(torch.bfloat16, 4096) == ("blocks", "fused", "fused_float32")
    assert candidates(torch.float32, 64) == ("plain", "fused")
    assert default_kernel(torch.float32, 256) == default_kernel(torch.bfloat16, 4096) == "fused"


def test_torch_takes_the_same_scale():
    q = torch.randn(1, 1, 5, 8, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(
        causal_attention(q, q, q, "plain"), F.scaled_dot_product_attention(q, q, q, is_causal=True), atol=1e-6
    )
