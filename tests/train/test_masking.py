"""Masked inputs: a function of seed and step, the right share, hidden from the model, targets kept."""

from __future__ import annotations

import pytest
import torch

from megadocs.model import build_model
from megadocs.train.masking import kept_inputs
from train.runs import MODEL, VOCAB


def test_depends_on_seed_and_step_only_and_has_the_share():
    kept = kept_inputs(1, 5, (64, 256), 0.15)
    assert torch.equal(kept, kept_inputs(1, 5, (64, 256), 0.15))
    assert not torch.equal(kept, kept_inputs(1, 6, (64, 256), 0.15))
    assert not torch.equal(kept, kept_inputs(2, 5, (64, 256), 0.15))
    assert 1 - kept.float().mean().item() == pytest.approx(0.15, abs=0.01)


def test_a_hidden_token_has_no_influence_but_is_still_a_target():
    model = build_model(MODEL, VOCAB, 16, seed=0)
    tokens = torch.arange(10)[None]
    other = tokens.clone()
    other[0, 4] = 33
    kept = torch.ones(1, 10, dtype=torch.bool)
    kept[0, 4] = False
    assert torch.equal(model(tokens, None, kept), model(other, None, kept))
    assert not torch.equal(model(tokens, None, kept, loss_scale=1.0), model(other, None, kept, loss_scale=1.0))
