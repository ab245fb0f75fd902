"""Exact arithmetic of shares and steps."""

from __future__ import annotations

from fractions import Fraction

import pytest

from megadocs.streams.shares import Shares, exact_steps


@pytest.mark.parametrize(
    ("epochs", "num_windows", "batch_size", "share", "steps"),
    [
        (8, 100, 16, Fraction(1), 50),
        (8, 100, 16, Fraction(1, 4), 200),
        (0.7, 30, 3, Fraction(1), 7),  # 0.7 * 30 is 21 - 4e-15 in floats
        (16, 777, 1, Fraction(1, 10), 124_320),  # / (1 - 0.9) in floats is a hair above, / 0.1 exactly
        (1, 15, 16, Fraction(1), 0),
    ],
)
def test_steps_are_counted_in_whole_numbers(epochs, num_windows, batch_size, share, steps):
    assert int(exact_steps(epochs, num_windows, batch_size, share)) == steps


def test_given_windows_follow_the_shares_exactly():
    shares = Shares([Fraction(1, 10), Fraction(9, 10)], block_windows=2048)
    assert shares.counts(0) == (204, 1844)
    assert shares.given_before(10) == (2048, 18432)
