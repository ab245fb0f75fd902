"""Averaged weights: an exponential moving average that is evaluated and exported instead of the last weights.

Off by default (the paper has none; facts, section 10: averaging is worth 0.01-0.02 nats in other work). The decay is
warmed up as min(decay, (1 + t) / (10 + t)), so that a short run is not an average over its initialisation.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor


class AveragedWeights:
    """A float32 average of parameters, updated after every step."""

    def __init__(self, named: Iterable[tuple[str, Tensor]], decay: float) -> None:
        self.decay = decay
        self._parameters = dict(named)
        self.tensors = {name: parameter.detach().clone() for name, parameter in self._parameters.items()}

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Move the average towards the weights; `step` counts the updates made, from 1."""
        weight = 1.0 - min(self.decay, (1 + step) / (10 + step))
        torch._foreach_lerp_(list(self.tensors.values()), list(self._parameters.values()), weight)

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """The model computes with the average inside, with its own weights again afterwards, bit for bit."""
        own = {name: parameter.detach().clone() for name, parameter in self._parameters.items()}
        with torch.no_grad():
            for name, parameter in self._parameters.items():
                parameter.copy_(self.tensors[name])
        try:
            yield
        finally:
            with torch.no_grad():
                for name, parameter in self._parameters.items():
                    parameter.copy_(own[name])
