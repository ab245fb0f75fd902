"""Losses and likeliest tokens of every average against float64, at logits of any size, whatever is asked for."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch

from megadocs.evaluate import target_losses
from megadocs.evaluate.ensembles import build_averages
from megadocs.evaluate.scoring_model import ScoringModel
from megadocs.evaluate.target_losses import SINGLE, position_losses

VOCAB = 97


def constant_members(tables: list[torch.Tensor]) -> list[ScoringModel]:
    return [ScoringModel.from_callable(lambda tokens, table=table: table.clone(), VOCAB) for table in tables]


@pytest.mark.parametrize("subsets", ["prefixes", "all"])
def test_losses_and_tops_of_every_average_equal_float64(subsets, monkeypatch):
    monkeypatch.setattr(target_losses, "MIN_CHUNK", 5)
    monkeypatch.setattr(target_losses, "CHUNK_LOGITS", 5 * VOCAB)
    generator = torch.Generator().manual_seed(0)
    tables = [4 * torch.randn(3, 8, VOCAB, generator=generator) + shift for shift in (0, 1e3, -1e3, 20)]
    tokens, positions = np.zeros((3, 8), dtype=np.int64), np.arange(24)
    stacked = torch.stack(tables).view(4, 24, VOCAB).double()
    targets = stacked.mean(dim=0).argmax(dim=-1).numpy()
    targets[::3] = 7
    averages = build_averages(4, subsets)
    random.Random(0).shuffle(averages)
    result = position_losses(constant_members(tables), averages, tokens, positions, targets, want_top=True)
    for average, nll, is_top in zip(averages, result.nll, result.is_top, strict=True):
        chosen = stacked[list(average.members)]
        if average.kind == "logits":
            log_p = torch.log_softmax(chosen.mean(dim=0), dim=-1)
        else:
            log_p = torch.softmax(chosen, dim=-1).mean(dim=0).log()
        expected = -log_p[torch.arange(24), torch.from_numpy(targets)].numpy()
        np.testing.assert_allclose(nll, expected, rtol=1e-5, atol=3e-4)  # logits of 1,000 have steps of 6e-5
        np.testing.assert_array_equal(is_top, log_p.argmax(dim=-1).numpy() == targets)
    assert result.is_top.any() and not result.is_top.all()


def test_impossible_tokens_certain_targets_and_nan():
    table = torch.zeros(1, 4, VOCAB)
    table[0, 0, 1:] = -torch.inf  # the target is certain
    table[0, 1, 5] = -torch.inf  # the target is impossible
    table[0, 2, 3] = torch.nan
    table[0, 3, 5] = -200.0  # as unlikely as float32 probabilities cannot be
    arguments = (np.zeros((1, 4), dtype=np.int64), np.arange(4), np.array([0, 5, 5, 5]))
    nll = position_losses(constant_members([table]), [SINGLE], *arguments).nll[0]
    assert nll[0] == 0
    assert nll[1] == np.inf
    assert np.isnan(nll[2])
    assert nll[3] == pytest.approx(200 + np.log(VOCAB - 1))


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_model_alone_has_the_same_bits_written_over_or_not(dtype):
    generator = torch.Generator().manual_seed(0)
    states, weight = torch.randn(2, 8, 12, generator=generator), torch.randn(VOCAB, 12, generator=generator)
    model = ScoringModel(lambda tokens: states, VOCAB, head_weight=weight, dtype=dtype)
    arguments = (np.zeros((2, 8), dtype=np.int64), np.arange(16), np.arange(16))
    kept = position_losses([model], [SINGLE], *arguments, want_top=True).nll
    for _ in range(2):
        np.testing.assert_array_equal(position_losses([model], [SINGLE], *arguments).nll, kept)
