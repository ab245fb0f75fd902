"""Learning rate and weight decay over a run, in closed form: a step's values depend on its number only.

Warm-up: linear from 0 over the first `warmup_fraction` of the steps. Then a cosine that reaches exactly 0 at
`num_steps` (facts, section 6), which is one past the last update, so that no update is wasted on a rate of 0.
"""

from __future__ import annotations

import math
from typing import Literal


def num_warmup_steps(num_steps: int, warmup_fraction: float) -> int:
    """Whole steps of warm-up, rounded down."""
    return int(num_steps * warmup_fraction)


def learning_rate_factor(step: int, num_steps: int, warmup_fraction: float) -> float:
    """Share of the peak rate at `step` (0 .. num_steps): 0 at the start of a warm-up, 1 at its end, 0 at num_steps."""
    warmup = num_warmup_steps(num_steps, warmup_fraction)
    if step < warmup:
        return step / warmup
    return 0.5 * (1.0 + math.cos(math.pi * (step - warmup) / (num_steps - warmup)))


def weight_decay_factor(
    step: int, num_steps: int, schedule: Literal["constant", "linear_to_zero", "cosine_to_zero"]
) -> float:
    """Share of the configured weight decay at `step`; multiplied by the learning rate in the update as ever."""
    if schedule == "constant":
        return 1.0
    if schedule == "linear_to_zero":
        return 1.0 - step / num_steps
    return 0.5 * (1.0 + math.cos(math.pi * step / num_steps))
