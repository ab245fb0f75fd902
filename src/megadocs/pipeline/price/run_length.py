"""How long a run is, by estimate, before its rows are there: windows, optimiser steps, and what training would refuse.

    parts = run_parts(arm.recipe, real_tokens=26_928, synthetic_tokens=149_518)
    estimated_steps(parts, batch_size=4)
    refuse_large_batch("simple", parts, batch_size=4)

Tokens of rows that are not written yet are known to a few tens of percent, so only what is twice too short is refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from megadocs.errors import RecipeError
from megadocs.recipe import Recipe
from megadocs.streams import REAL_STREAM
from megadocs.streams.shares import exact_steps

#: By how much estimates may be wrong.
_SLACK = 2


@dataclass(frozen=True, slots=True)
class Part:
    """One stream of a run, or all its synthetic ones together."""

    name: str  # REAL_STREAM or "synthetic"
    share: Fraction  # of the windows of a step
    epochs: float  # passes, if it sets the length
    num_windows: int  # of one pass


def run_parts(recipe: Recipe, real_tokens: float, synthetic_tokens: float) -> list[Part]:
    """The parts of an arm's mixture, the one that sets the length first.

    Args:
        real_tokens: of its real documents.
        synthetic_tokens: of its synthetic rows.
    """
    mixture, train = recipe.mixture, recipe.train
    windows = int(real_tokens / train.context_length)
    windows = min(windows, mixture.max_windows.get(REAL_STREAM, windows))
    fraction = Fraction(mixture.synthetic_fraction) if mixture.has_real_stream else Fraction(1)
    parts = [Part(REAL_STREAM, 1 - fraction, train.real_epochs, windows)] if mixture.has_real_stream else []
    if mixture.has_synthetic_stream:
        windows = int(synthetic_tokens / train.context_length)
        parts.append(Part("synthetic", fraction, train.synthetic_epochs or 1.0, windows))
    return parts


def estimated_steps(parts: Sequence[Part], batch_size: int) -> int:
    """Optimiser steps; 0 where the run has none. One that may just have one has it."""
    exact = exact_steps(parts[0].epochs, parts[0].num_windows, batch_size, parts[0].share)
    return max(1, int(exact)) if exact * _SLACK >= 1 else 0


def refuse_large_batch(arm: str, parts: Sequence[Part], batch_size: int) -> None:
    """`RecipeError` where a step takes more windows of a part than a pass over it has: training refuses it, too."""
    for part in parts:
        taken = batch_size * part.share
        if taken > _SLACK * part.num_windows:
            raise RecipeError(
                f"a batch of {batch_size} takes {float(taken):.3g} windows of {part.name} text, which has about "
                f"{part.num_windows}",
                where=f"arms.{arm}: train.batch_size",
                remedy="lower the batch, shorten train.context_length, or add documents",
            )
