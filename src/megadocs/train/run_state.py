"""Everything of a run that changes while it trains, as tensors by name: weights, both moments, averaged weights.

    checkpoint.read_into(run.tensors(step=checkpoint.step), ...)    # in place, each rank its own part
    tensors = run.tensors()                                         # to be saved

Names: `weight.<parameter>`, `exp_avg.<parameter>`, `exp_avg_sq.<parameter>`, `ema.<parameter>`. Under FSDP2 every
tensor is this rank's shard (a DTensor that knows the whole shape), otherwise whole. The names and the whole shapes are
the same for any layout: that is what lets a run go on with another number of ranks.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from megadocs.model.llama import Llama
from megadocs.train.distributed import World, gather_tensors, is_sharded
from megadocs.train.ema import AveragedWeights
from megadocs.train.optimiser import moments


@dataclass(frozen=True)
class RunState:
    """The model, its optimiser and its average, with their way to and from a checkpoint."""

    model: Llama
    optimiser: torch.optim.AdamW
    average: AveragedWeights | None

    @property
    def is_sharded(self) -> bool:
        """Whether each rank holds a part of every tensor."""
        return is_sharded(next(self.model.parameters()))

    def tensors(self, *, step: int) -> dict[str, Tensor]:
        """The live tensors by name; moments that are not there yet are made, as after `step` updates."""
        named = {f"weight.{name}": parameter.detach() for name, parameter in self.model.named_parameters()}
        named |= moments(self.optimiser, self.model.named_parameters(), step=step)
        if self.average is not None:
            named |= {f"ema.{name}": tensor for name, tensor in self.average.tensors.items()}
        return named

    def result(self, world: World) -> dict[str, Tensor]:
        """The weights a run is for: averaged where there is an average. Every rank must call it."""
        if self.average is not None:
            return gather_tensors(self.average.tensors.items(), world)
        return gather_tensors(self.model.named_parameters(), world)
