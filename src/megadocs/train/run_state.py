"""Everything of a run that changes while it trains, as tensors by name: weights, both moments, averaged weights.

One layout for one rank, DDP and FSDP2: whole tensors, gathered on the first rank. That is what lets a run go on with
another number of ranks. Names: `weight.<parameter>`, `exp_avg.<parameter>`, `exp_avg_sq.<parameter>`,
`ema.<parameter>`.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from megadocs.errors import TrainingError
from megadocs.model.llama import Llama
from megadocs.train.distributed import World, gather_tensors, shard_like
from megadocs.train.ema import AveragedWeights
from megadocs.train.optimiser import load_moments, moments


@dataclass(frozen=True)
class RunState:
    """The model, its optimiser and its average, with their way to and from a checkpoint."""

    model: Llama
    optimiser: torch.optim.AdamW
    average: AveragedWeights | None

    def gather(self, world: World) -> dict[str, Tensor]:
        """Whole tensors on the first rank's CPU, an empty dict elsewhere. Every rank must call it."""
        named: list[tuple[str, Tensor]] = [
            (f"weight.{name}", parameter) for name, parameter in self.model.named_parameters()
        ]
        named += moments(self.optimiser, self.model.named_parameters())
        if self.average is not None:
            named += [(f"ema.{name}", tensor) for name, tensor in self.average.tensors.items()]
        return gather_tensors(named, world)

    @torch.no_grad()
    def restore(self, tensors: dict[str, Tensor], *, step: int) -> None:
        """Put whole tensors back; `step` is the number of updates they have seen (TrainingError if one is missing)."""
        for name, parameter in self.model.named_parameters():
            parameter.copy_(shard_like(_find(tensors, f"weight.{name}", parameter), parameter))
            if self.average is not None:
                self.average.tensors[name].copy_(shard_like(_find(tensors, f"ema.{name}", parameter), parameter))
        load_moments(self.optimiser, self.model.named_parameters(), tensors, step=step)

    def result(self, world: World) -> dict[str, Tensor]:
        """The weights a run is for: averaged where there is an average. Every rank must call it."""
        if self.average is not None:
            return gather_tensors(self.average.tensors.items(), world)
        return gather_tensors(self.model.named_parameters(), world)


def _find(tensors: dict[str, Tensor], key: str, like: Tensor) -> Tensor:
    tensor = tensors.get(key)
    if tensor is None or tensor.shape != like.shape:
        raise TrainingError(
            f"the checkpoint has no {key} of shape {tuple(like.shape)}",
            remedy="it is of another model or program; give this run a folder of its own",
        )
    return tensor
