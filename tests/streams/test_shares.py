"""Exact arithmetic of shares and steps."""

from __future__ import annotations

import itertools
from fractions import Fraction

import pytest

from megadocs.streams.shares import Shares, exact_steps, fits


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


THREE = [Fraction(1, 4), Fraction(3, 8), Fraction(3, 8)]


def test_the_last_stream_takes_the_rest():
    shares = Shares(THREE, block_windows=5)
    assert shares.rounding == "exact"
    assert [shares.given_before(block) for block in range(4)] == [(0, 0, 0), (1, 1, 3), (2, 3, 5), (3, 5, 7)]
    assert [shares.counts(block) for block in range(3)] == [(1, 1, 3), (1, 2, 2), (1, 2, 2)]


def test_levanter_gives_the_rest_of_each_block_to_the_first_of_the_largest():
    shares = Shares(THREE, 5, "levanter")
    assert [shares.given_before(block) for block in range(3)] == [(0, 0, 0), (1, 3, 1), (2, 6, 2)]
    assert shares.counts(7) == (1, 3, 1)
    assert Shares(THREE[::-1], 5, "levanter").counts(0) == (3, 1, 1)


@pytest.mark.parametrize(
    "shares",
    [
        [Fraction(1, 2), Fraction(1, 4)],
        [Fraction(1), Fraction(1)],
        [Fraction(1), Fraction(0)],
        [Fraction(3, 2), Fraction(-1, 2)],
    ],
)
def test_shares_that_do_not_add_up_are_refused(shares):
    with pytest.raises(ValueError) as caught:
        Shares(shares, 4)
    assert str(caught.value) == f"shares are positive and add up to 1, not {shares}"


@pytest.mark.parametrize("rounding", ["exact", "levanter"])
def test_what_fits_agrees_with_looking_at_every_block(rounding):
    """Over all triples of eighths: negative counts of the last stream, counts above the windows, blocks not run."""
    seen = set()
    for first, second in itertools.product(range(1, 7), repeat=2):
        if first + second > 7:
            continue
        exact = [Fraction(first, 8), Fraction(second, 8), Fraction(8 - first - second, 8)]
        for block, num_blocks in itertools.product((1, 2, 3, 5), (0, 1, 3, 20)):
            shares = Shares(exact, block, rounding)
            counts = [shares.counts(number) for number in range(num_blocks)]
            for windows in ([1, 1, 1], [2, 1, 2], [3, 2, 1], [1, 2, 3]):
                expected = all(0 <= n <= most for row in counts for n, most in zip(row, windows, strict=True))
                assert fits(shares, windows, num_blocks) == expected
                seen.add(expected)
    assert seen == {True, False}
