"""The decay mask by name, and updates against torch's plain AdamW and against arithmetic."""

from __future__ import annotations

import torch

from megadocs.model import build_model
from megadocs.train.optimiser import (
    build_optimiser,
    is_decayed,
    moments,
    set_rates,
)
from train.runs import MODEL, VOCAB, train_config


def tiny_model():
    return build_model(MODEL, VOCAB, 16, seed=0)


def test_embedding_and_norms_are_not_decayed_and_the_head_is():
    decayed = {name for name, parameter in tiny_model().named_parameters() if is_decayed(name, parameter)}
    assert "lm_head.weight" in decayed
    assert "model.layers.1.mlp.down_proj.weight" in decayed
    assert not any("norm" in name or "embed" in name for name in decayed)
    assert len(decayed) == 1 + 2 * 7


def test_updates_equal_torchs_plain_adamw():
    ours, reference = tiny_model(), tiny_model()
    optimiser = build_optimiser(ours, train_config())
    named = list(reference.named_parameters())
    plain = torch.optim.AdamW(
        [
            {"params": [p for n, p in named if is_decayed(n, p)], "weight_decay": 0.7},
            {"params": [p for n, p in named if not is_decayed(n, p)], "weight_decay": 0.0},
        ],
        lr=0.01, betas=(0.9, 0.95), eps=1e-8, foreach=False, fused=False,
    )  # fmt: skip
    for step in range(5):
        tokens = torch.randint(0, VOCAB, (2, 16), generator=torch.Generator().manual_seed(step))
        for model, stepper in ((ours, optimiser), (reference, plain)):
            stepper.zero_grad()
            model(tokens, loss_scale=1 / 30).backward()
            set_rates(optimiser, learning_rate=0.01, weight_decay=0.7)
            stepper.step()
    for (name, got), (_, expected) in zip(ours.named_parameters(), named, strict=True):
        assert torch.allclose(got, expected, atol=2e-6), name


def test_a_step_without_gradient_shrinks_by_rate_times_decay():
    model = tiny_model()
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    optimiser = build_optimiser(model, train_config())
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    set_rates(optimiser, learning_rate=0.01, weight_decay=1.6)
    optimiser.step()
    for name, parameter in model.named_parameters():
        shrink = 1 - 0.01 * 1.6 if is_decayed(name, parameter) else 1.0
        assert torch.allclose(parameter, before[name] * shrink, rtol=1e-6)


def test_moments_are_live_and_made_where_there_are_none():
    model = tiny_model()
    optimiser = build_optimiser(model, train_config())
    model(torch.zeros(1, 16, dtype=torch.int64), loss_scale=1.0).backward()
    optimiser.step()
    tensors = moments(optimiser, model.named_parameters(), step=7)
    parameter = model.lm_head.weight
    assert tensors["exp_avg.lm_head.weight"] is optimiser.state[parameter]["exp_avg"]
    assert optimiser.state[parameter]["step"] == 1
    fresh = build_optimiser(model, train_config())
    empty = moments(fresh, model.named_parameters(), step=7)
    assert empty.keys() == tensors.keys()
    assert fresh.state[parameter]["step"] == 7
    assert not any(tensor.any() for tensor in empty.values())
    empty["exp_avg_sq.lm_head.weight"].fill_(2.0)
    assert fresh.state[parameter]["exp_avg_sq"].eq(2.0).all()
