"""Compute-matched searches: how many real epochs give every arm the same optimiser steps.

    matched = MatchedCompute(epochs=16, real_tokens={1: 12_300, 2: 26_400})
    matched.real_epochs(multiple=2, fraction=Decimal("0.75"), batch_size=4, context_length=256, max_windows=None)

A run's length is floor(epochs x windows / (batch x share)) of its real stream. Twice the documents are not twice the
tokens, least of all under a small vocabulary that was trained on the first half (7 % more on the quickstart). So the
epochs of an arm with more documents follow from the tokens of its real rows, once these are there; before, a plan takes
twice the documents for twice the tokens.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from fractions import Fraction

from megadocs.corpus import SplitCorpus
from megadocs.pipeline.stages.arm_data import open_row_artifacts, real_documents
from megadocs.store.artifact import Artifact, Workspace
from megadocs.streams.shares import exact_steps

#: Epochs are rounded up to the fewest digits that leave the number of steps as it is.
_MAX_DIGITS = 17


@dataclass(frozen=True, slots=True)
class MatchedCompute:
    """What all runs have in common."""

    epochs: float  # passes over the 1x real documents that a run without synthetic text would take
    #: real multiple -> tokens of its documents; empty while they are not counted.
    real_tokens: Mapping[int, int] = field(default_factory=dict)

    def real_epochs(
        self, *, multiple: int, fraction: Decimal, batch_size: int, context_length: int, max_windows: int | None
    ) -> float:
        """`train.real_epochs` of an arm.

        Args:
            fraction: its synthetic fraction, below 1.
            batch_size, context_length: its own.
            max_windows: the mixture's limit on real windows; None: no limit.
        """
        exact = Decimal(repr(self.epochs)) * (1 - fraction)
        if multiple == 1 or not {1, multiple} <= set(self.real_tokens):
            return float(exact / multiple)
        cap = max_windows or math.inf
        once, own = (min(cap, self.real_tokens[number] // context_length) for number in (1, multiple))
        num_steps = int(exact_steps(self.epochs, int(once), batch_size, Fraction(1)))
        batches = Fraction(batch_size) * Fraction(1 - fraction) / int(own)  # epochs that a step takes
        return _shortest(num_steps * batches, (num_steps + 1) * batches)


def count_real_tokens(
    rows: Artifact, workspace: Workspace, corpus: SplitCorpus, multiples: Iterable[int]
) -> dict[int, int]:
    """Real multiple -> tokens of its documents, from the artifact of the real rows."""
    opened = open_row_artifacts({"rows": rows}, workspace)
    return {number: real_documents(corpus, opened, number)["num_real_tokens"] for number in sorted({1, *multiples})}


def _shortest(lowest: Fraction, above: Fraction) -> float:
    """The number with the fewest digits from `lowest` to below `above`."""
    magnitude = math.floor(math.log10(lowest)) if lowest > 0 else 0
    for digits in range(1, _MAX_DIGITS + 1):
        unit = Fraction(10) ** (magnitude + 1 - digits)
        value = math.ceil(lowest / unit) * unit
        if value < above and Fraction(repr(float(value))) >= lowest:
            return float(value)
    return float(lowest)
