"""How long a run is before its rows are there: optimiser steps, and a batch that its real text cannot fill.

    clock = clock_of(arm.recipe, real_tokens=26_928, synthetic_tokens=149_518)
    estimated_steps(clock, batch_size=4)
    refuse_large_batch("simple", clock, batch_size=4)

Tokens of rows that are not written yet are estimates; those of real text are counted where the corpus is small.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from megadocs.errors import RecipeError
from megadocs.recipe import Recipe
from megadocs.streams import REAL_STREAM
from megadocs.streams.shares import exact_steps

#: Below so many optimiser steps by an estimate a run has none.
_FEWEST_STEPS = Fraction(1, 2)


@dataclass(frozen=True, slots=True)
class Clock:
    """The stream that sets a run's length."""

    share: Fraction  # of the windows of a step
    epochs: float  # passes over it
    num_windows: int  # of one pass


def clock_of(recipe: Recipe, real_tokens: float, synthetic_tokens: float) -> Clock:
    """The real stream where the arm has one of its own, else the synthetic text.

    Args:
        real_tokens: of its real documents.
        synthetic_tokens: of its synthetic rows, real documents among them included.
    """
    mixture, train = recipe.mixture, recipe.train
    if not mixture.has_real_stream:
        return Clock(Fraction(1), train.synthetic_epochs or 1.0, int(synthetic_tokens / train.context_length))
    windows = int(real_tokens / train.context_length)
    windows = min(windows, mixture.max_windows.get(REAL_STREAM) or windows)  # a cap of 0 is none
    return Clock(1 - Fraction(mixture.synthetic_fraction), train.real_epochs, windows)


def estimated_steps(clock: Clock, batch_size: int) -> int:
    """Optimiser steps; 0 where the run has none. One that may just have one, since tokens are estimates, has it."""
    exact = exact_steps(clock.epochs, clock.num_windows, batch_size, clock.share)
    return max(1, int(exact)) if exact >= _FEWEST_STEPS else 0


def refuse_large_batch(arm: str, clock: Clock, batch_size: int) -> None:
    """`RecipeError` where a step takes more windows of the real text than there are: training refuses it, too.

    For counted tokens. The share of a batch is rounded down: rounded up it may fit into a short run.
    """
    taken = int(batch_size * clock.share)
    if taken > clock.num_windows:
        raise RecipeError(
            f"a batch of {batch_size} takes {taken} windows of real text, which has {clock.num_windows}",
            where=f"arms.{arm}: train.batch_size",
            remedy="lower the batch, shorten train.context_length, or add documents",
        )
