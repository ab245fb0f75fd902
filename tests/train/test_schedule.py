"""The closed form at its corners and against torch's own schedulers."""

from __future__ import annotations

import pytest
import torch

from megadocs.train.schedule import learning_rate_factor, num_warmup_steps, weight_decay_factor


def test_corners_are_exact():
    assert num_warmup_steps(100, 0.1) == 10
    assert learning_rate_factor(0, 100, 0.1) == 0.0
    assert learning_rate_factor(5, 100, 0.1) == 0.5
    assert learning_rate_factor(10, 100, 0.1) == 1.0
    assert learning_rate_factor(55, 100, 0.1) == pytest.approx(0.5)
    assert learning_rate_factor(100, 100, 0.1) == 0.0
    assert learning_rate_factor(0, 100, 0.0) == 1.0
    assert learning_rate_factor(1, 1, 0.01) == 0.0


def test_equals_torchs_warmup_then_cosine():
    num_steps, warmup = 50, 5
    optimiser = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    rise = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: step / warmup)
    fall = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, num_steps - warmup)
    both = torch.optim.lr_scheduler.SequentialLR(optimiser, [rise, fall], [warmup])
    for step in range(num_steps):
        assert learning_rate_factor(step, num_steps, warmup / num_steps) == pytest.approx(
            both.get_last_lr()[0], abs=1e-12
        )
        optimiser.step()
        both.step()


def test_weight_decay_schedules():
    assert weight_decay_factor(7, 10, "constant") == 1.0
    assert [weight_decay_factor(step, 10, "linear_to_zero") for step in (0, 5, 10)] == [1.0, 0.5, 0.0]
    assert weight_decay_factor(5, 10, "cosine_to_zero") == pytest.approx(0.5)
    assert weight_decay_factor(10, 10, "cosine_to_zero") == 0.0
