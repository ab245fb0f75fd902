"""Compute-matched epochs give every arm the same optimiser steps, by the mixture's own formula."""

from decimal import Decimal
from fractions import Fraction

import pytest

from megadocs.pipeline.tune.matched_compute import MatchedCompute

TOKENS = {1: 12_345, 2: 26_421, 4: 54_904}


def num_steps(epochs, tokens, fraction, batch_size, context_length, max_windows=None):
    """Steps of a run: `streams.build`, written again."""
    windows = min(tokens // context_length, max_windows or tokens)
    return int(Fraction(repr(epochs)) * windows / (batch_size * (1 - Fraction(fraction))))


@pytest.mark.parametrize("epochs", [0.7, 3, 16, 33.3])
@pytest.mark.parametrize("fraction", ["0", "0.3", "0.5", "0.75", "0.9", "0.95"])
@pytest.mark.parametrize("batch_size, context_length, max_windows", [(4, 256, None), (16, 64, None), (4, 64, 70)])
def test_all_arms_take_the_same_steps(epochs, fraction, batch_size, context_length, max_windows):
    matched = MatchedCompute(epochs, TOKENS)
    wanted = num_steps(epochs, TOKENS[1], "0", batch_size, context_length, max_windows)
    shape = {"batch_size": batch_size, "context_length": context_length, "max_windows": max_windows}
    for multiple, tokens in TOKENS.items():
        found = matched.real_epochs(multiple=multiple, fraction=Decimal(fraction), **shape)
        assert num_steps(found, tokens, fraction, **shape) == wanted


def test_without_counts_twice_the_documents_are_twice_the_tokens():
    shape = {"batch_size": 4, "context_length": 256, "max_windows": None}
    assert MatchedCompute(16).real_epochs(multiple=2, fraction=Decimal("0.75"), **shape) == 2.0
    assert MatchedCompute(3).real_epochs(multiple=1, fraction=Decimal("0.3"), **shape) == 2.1  # not 2.0999999999999996


def test_epochs_have_few_digits():
    found = MatchedCompute(16, TOKENS).real_epochs(
        multiple=2, fraction=Decimal(0), batch_size=4, context_length=256, max_windows=None
    )
    assert found == 7.46  # 192 steps of 4 windows of 103: 7.4563...
