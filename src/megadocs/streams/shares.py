"""How many windows each stream gives in each block: exact counts, in whole numbers throughout.

shares = Shares([Fraction(1, 10), Fraction(9, 10)], block_windows=2048)
shares.counts(0)          # (204, 1844)
shares.given_before(10)   # (2048, 18432): windows given in blocks 0..9
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal


@dataclass(frozen=True, slots=True)
class Shares:
    """Exact shares of the streams and the counts that follow from them."""

    shares: Sequence[Fraction]  # one positive fraction per stream; they add up to 1
    block_windows: int  # windows of a block
    rounding: Literal["exact", "levanter"] = "exact"  # "exact" over the run, or "levanter" within each block

    def __post_init__(self) -> None:
        if sum(self.shares) != 1 or any(share <= 0 for share in self.shares):
            raise ValueError(f"shares are positive and add up to 1, not {self.shares}")

    def given_before(self, block: int) -> tuple[int, ...]:
        """Windows of each stream in blocks 0..block-1."""
        total = block * self.block_windows
        if self.rounding == "levanter":
            return tuple(block * count for count in self._levanter_counts())
        given = [total * share.numerator // share.denominator for share in self.shares[:-1]]
        return (*given, total - sum(given))

    def counts(self, block: int) -> tuple[int, ...]:
        """Windows of each stream in that block."""
        before, after = self.given_before(block), self.given_before(block + 1)
        return tuple(late - early for early, late in zip(before, after, strict=True))

    def _levanter_counts(self) -> list[int]:
        """Each share truncated within the block; the remainder goes to the largest (the first of equals)."""
        counts = [self.block_windows * share.numerator // share.denominator for share in self.shares]
        largest = max(range(len(counts)), key=lambda entry: (self.shares[entry], -entry))
        counts[largest] += self.block_windows - sum(counts)
        return counts


def exact_steps(epochs: float, num_windows: int, batch_size: int, share: Fraction) -> Fraction:
    """Optimiser steps of a run before rounding down: epochs x windows / (batch x share) of the stream that sets the
    clock, in whole numbers (in floats 0.7 epochs of 30 windows would end a step early).

    Args:
        epochs: passes over that stream.
        num_windows: of one pass.
        batch_size: windows of a step.
        share: of the stream in the mixture, above 0.
    """
    return Fraction(repr(epochs)) * num_windows / (batch_size * share)


def fits(shares: Shares, num_windows: Sequence[int], num_blocks: int) -> bool:
    """No stream gives more windows in a block than it has, and none gives a negative number (many tiny shares)."""
    for block in range(min(num_blocks, _period(shares))):
        for count, available in zip(shares.counts(block), num_windows, strict=True):
            if not 0 <= count <= available:
                return False
    return True


def _period(shares: Shares) -> int:
    """Blocks after which the counts repeat."""
    if shares.rounding == "levanter":
        return 1
    return math.lcm(*((shares.block_windows * share).denominator for share in shares.shares))
