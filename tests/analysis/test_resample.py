"""Portable random numbers and the document bootstrap."""

from __future__ import annotations

import numpy as np
import pytest

from megadocs.analysis.resample import bootstrap_losses, uniforms
from megadocs.analysis.tables import build_block
from megadocs.seeding import mix

from .fixtures_experiment import make_experiment


def test_uniforms_are_fixed_for_ever_and_uniform() -> None:
    values = uniforms(7, 100_000)
    assert values[1:3].tolist() == uniforms(7, 2, 1).tolist()
    assert values.min() > 0
    assert values.max() < 1
    assert values.mean() == pytest.approx(0.5, abs=0.005)
    assert values.var() == pytest.approx(1 / 12, abs=0.002)
    assert uniforms(5, 3)[2] == ((mix(mix(2) ^ 5) >> 11) + 0.5) / 2**53
    assert uniforms(0, 1)[0] == 0.6524484863740323


def test_bootstrap_spread_matches_the_ratio_estimators_theory() -> None:
    block = build_block(make_experiment().scores, "test", "windowed")
    draws = bootstrap_losses(block, 2000, 0)
    losses = block.losses()
    residual = block.sum_nll[0] - losses[0] * block.num_tokens
    expected = np.sqrt((residual**2).sum()) / block.num_tokens.sum()
    assert draws[:, 0].std() == pytest.approx(expected, rel=0.08)
    assert draws[:, 0].mean() == pytest.approx(losses[0], abs=4 * expected / np.sqrt(2000) + 1e-3)


def test_runs_share_their_draws() -> None:
    block = build_block(make_experiment().scores, "test", "windowed")
    draws = bootstrap_losses(block, 500, 0)
    assert (draws[:, 0] - draws[:, 1]).std() < 0.2 * draws[:, 0].std()
