"""What a run will take, known before its first step: steps, tokens, FLOPs, parts of a step, the machine's rate.

plan = plan_run(config, model.config, mixture, world=world, micro_batch=16)
print(plan.text())
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from megadocs.model.config import LlamaConfig
from megadocs.recipe.training import TrainConfig
from megadocs.train.distributed import World
from megadocs.train.throughput import matmul_rate


@dataclass(frozen=True)
class RunPlan:
    """The two clocks resolved."""

    num_steps: int  # optimiser steps
    tokens_per_step: int  # over all ranks
    num_tokens: int  # of the whole run
    flops_per_token: float  # forward and backward
    num_parameters: int
    num_ranks: int  # processes
    micro_batch: int  # windows per pass and rank
    matmul_flops_per_second: float  # measured for the model's own shapes, one rank
    streams: dict[str, float]  # name -> epochs, where the mixture tells
    #: steps that an earlier call logged and of which no checkpoint is left: they are trained again.
    num_lost_steps: int = 0

    def text(self) -> str:
        """Three lines for people."""
        epochs = ", ".join(f"{name} {value:.2f} epochs" for name, value in self.streams.items())
        return (
            f"{self.num_parameters:,} parameters; {self.num_steps:,} steps of {self.tokens_per_step:,} tokens = "
            f"{self.num_tokens:,} tokens, {self.num_tokens * self.flops_per_token:.3g} FLOPs\n"
            f"{self.num_ranks} ranks, {self.micro_batch} windows a pass; matrix products of these shapes run at "
            f"{self.matmul_flops_per_second / 1e9:,.0f} GFLOP/s a rank" + (f"\n{epochs}" if epochs else "")
        )


def plan_run(config: TrainConfig, shape: LlamaConfig, mixture: Any, *, world: World, micro_batch: int) -> RunPlan:
    """Count and measure; `mixture` may have `exposures()` with `name` and `actual_epochs`."""
    tokens_per_step = config.batch_size * config.context_length
    exposures = mixture.exposures() if hasattr(mixture, "exposures") else ()
    return RunPlan(
        num_steps=mixture.num_steps,
        tokens_per_step=tokens_per_step,
        num_tokens=mixture.num_steps * tokens_per_step,
        flops_per_token=shape.flops_per_token(config.context_length),
        num_parameters=shape.num_parameters,
        num_ranks=world.size,
        micro_batch=micro_batch,
        matmul_flops_per_second=matmul_rate(
            shape,
            num_tokens=micro_batch * config.context_length,
            device=world.device,
            dtype=getattr(torch, config.dtype),
        ),
        streams={exposure.name: exposure.actual_epochs for exposure in exposures},
    )
