"""Initial weights (facts, section 6): truncated normals from a seed and each parameter's own name.

Linear layers: normal cut at 3 sigma, times 1 / sqrt(fan_in). Token embedding: the same normal times 1 / hidden_size.
Norms: 1. Each parameter has a generator of its own, seeded by `derive_seed(seed, "init", name)`, so that a deeper
model, another arm or a sharded construction gives the same numbers to the same parameter.
"""

from __future__ import annotations

import torch
from torch import nn

from megadocs.seeding import derive_seed

_CUT = 3.0


def initialise(model: nn.Module, seed: int) -> None:
    """Fill every parameter in place. A tied head keeps the embedding's values."""
    for name, parameter in model.named_parameters():
        if parameter.ndim == 1:
            nn.init.ones_(parameter)
            continue
        fan_in = parameter.shape[1]
        deviation = 1.0 / fan_in if name.endswith("embed_tokens.weight") else fan_in**-0.5
        generator = torch.Generator(device=parameter.device)
        generator.manual_seed(derive_seed(seed, "init", name) >> 1)
        cut = _CUT * deviation
        nn.init.trunc_normal_(parameter, std=deviation, a=-cut, b=cut, generator=generator)
