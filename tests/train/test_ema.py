"""Averages by hand, and that looking through them changes nothing."""

from __future__ import annotations

import pytest
import torch

from megadocs.train.ema import AveragedWeights


def test_average_by_hand():
    weight = torch.zeros(2, requires_grad=True)
    average = AveragedWeights([("w", weight)], decay=0.5)
    with torch.no_grad():
        weight.fill_(1.0)
    average.update(1)  # warmed up: min(0.5, 2 / 11)
    expected = 9 / 11
    assert average.tensors["w"].tolist() == pytest.approx([expected] * 2)
    for _ in range(100, 103):
        average.update(100)
        expected = 0.5 * expected + 0.5
    assert average.tensors["w"].tolist() == pytest.approx([expected] * 2)


def test_own_weights_come_back_to_the_bit():
    weight = torch.randn(5, requires_grad=True)
    before = weight.detach().clone()
    average = AveragedWeights([("w", weight)], decay=0.9)
    average.tensors["w"].fill_(7.0)
    with pytest.raises(KeyError), average.in_use():
        assert weight.tolist() == [7.0] * 5
        raise KeyError
    assert torch.equal(weight, before)
