"""Masked input: a share of the input tokens is hidden from the model while the targets stay.

Off by default (arXiv:2606.06888 reports it worth about 1.3x the data where tokens are repeated). A hidden token's
embedding is zero, so no token of the vocabulary is spent on it. Which tokens are hidden is a function of seed and
step alone: resuming and any number of ranks see the same.
"""

from __future__ import annotations

import torch
from torch import Tensor

from megadocs.seeding import derive_seed


def kept_inputs(seed: int, step: int, shape: tuple[int, int], fraction: float) -> Tensor:
    """Bool (B, T) for the whole batch of a step: False, with probability `fraction`, where the input is hidden."""
    generator = torch.Generator()
    generator.manual_seed(derive_seed(seed, "masked_input", step) >> 1)
    return torch.rand(shape, generator=generator) >= fraction
