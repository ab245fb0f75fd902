"""The chunked loss against torch's cross-entropy: value, gradients, chunk borders, extreme logits."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from megadocs.model import loss as loss_module
from megadocs.model.loss import linear_cross_entropy, token_losses


@pytest.mark.parametrize("small_head", [0, 13 * 6])
@pytest.mark.parametrize("num_positions", [1, 4, 5, 11])
def test_value_and_gradients_equal_cross_entropy(num_positions, small_head, monkeypatch):
    monkeypatch.setattr(loss_module, "SMALL_HEAD", small_head)
    monkeypatch.setattr(loss_module, "MIN_BLOCK_OF_SMALL_HEAD", 4)
    monkeypatch.setattr(loss_module, "MIN_CHUNK", 3)
    monkeypatch.setattr(loss_module, "CHUNK_BYTES", 1)
    monkeypatch.setattr(loss_module, "MIN_BLOCK", 8)
    monkeypatch.setattr(loss_module, "BLOCK_BYTES", 1)
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(num_positions, 6, generator=generator, requires_grad=True)
    head = torch.randn(13, 6, generator=generator, requires_grad=True)
    targets = torch.randint(0, 13, (num_positions,), generator=generator)
    expected = F.cross_entropy(hidden @ head.t(), targets, reduction="sum") * 0.25
    expected.backward()
    gradients = [hidden.grad.clone(), head.grad.clone()]
    hidden.grad = head.grad = None
    got = linear_cross_entropy(hidden, head, targets, scale=0.25)
    (got * 3).backward()
    assert torch.allclose(got, expected)
    assert torch.allclose(hidden.grad, gradients[0] * 3, atol=1e-6)
    assert torch.allclose(head.grad, gradients[1] * 3, atol=1e-6)
    with torch.no_grad():
        assert torch.allclose(linear_cross_entropy(hidden, head, targets, scale=0.25), expected)


def test_huge_logits_give_finite_losses():
    hidden = torch.tensor([[1000.0]], requires_grad=True)
    head = torch.tensor([[1.0], [-1.0]], requires_grad=True)
    assert linear_cross_entropy(hidden, head, torch.tensor([1]), scale=1.0).item() == pytest.approx(2000.0)
    assert float(token_losses(hidden.detach(), head.detach(), torch.tensor([0]))) == 0.0


def test_not_a_number_stays_one():
    hidden = torch.tensor([[float("nan")]], requires_grad=True)
    assert linear_cross_entropy(hidden, torch.ones(2, 1, requires_grad=True), torch.tensor([1]), scale=1.0).isnan()


def test_head_gradient_is_float32_for_bfloat16_states():
    hidden = torch.randn(8, 4).bfloat16().requires_grad_()
    head = torch.randn(5, 4, requires_grad=True)
    linear_cross_entropy(hidden, head, torch.zeros(8, dtype=torch.int64), scale=1.0).backward()
    assert head.grad.dtype == torch.float32
    assert hidden.grad.dtype == torch.bfloat16


@pytest.mark.parametrize("num_bytes", [1, 1 << 30])
def test_the_size_of_a_block_in_bfloat16_moves_gradients_by_rounding_only(num_bytes, monkeypatch):
    monkeypatch.setattr(loss_module, "HALF_BLOCK_BYTES", num_bytes)
    monkeypatch.setattr(loss_module, "MIN_BLOCK_OF_SMALL_HEAD", 16)
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(50, 8, generator=generator).bfloat16().requires_grad_()
    head = torch.randn(13, 8, generator=generator).bfloat16().float().requires_grad_()
    targets = torch.randint(0, 13, (50,), generator=generator)
    exact = [leaf.detach().float().requires_grad_() for leaf in (hidden, head)]
    F.cross_entropy(exact[0] @ exact[1].t(), targets, reduction="sum").backward()
    linear_cross_entropy(hidden, head, targets, scale=1.0).backward()
    for wanted, leaf in zip(exact, (hidden, head), strict=True):
        assert ((wanted.grad - leaf.grad.float()).norm() / wanted.grad.norm()).item() < 0.006


def test_the_form_for_compilers_equals_the_plain_one():
    generator = torch.Generator().manual_seed(0)
    logits = 30 * torch.randn(7, 19, generator=generator)
    targets = torch.randint(0, 19, (7, 1), generator=generator)
    other = logits.clone()
    plain = loss_module._to_gradient(logits, targets, 0.25)
    fused = loss_module._to_gradient_in_one(other, targets, 0.25)
    assert torch.allclose(plain, fused, rtol=1e-6)
    assert torch.allclose(logits, other, atol=1e-7)
