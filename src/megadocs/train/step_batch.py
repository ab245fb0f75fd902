"""The batch of one optimiser step on one rank, and the gradient of its mean loss, part by part."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from megadocs.errors import TrainingError
from megadocs.recipe.training import TrainConfig
from megadocs.train.distributed import without_sync
from megadocs.train.job import Batch
from megadocs.train.masking import kept_inputs


@dataclass(frozen=True)
class StepBatch:
    """One rank's part of a step on its device: tokens (B, T); segments and kept inputs likewise, where used."""

    tokens: Tensor
    segments: Tensor | None
    kept: Tensor | None


def to_tensors(
    batch: Batch, config: TrainConfig, *, seed: int, step: int, part: slice, device: torch.device
) -> StepBatch:
    """This rank's part of a step's batch; refuses another shape than the recipe's."""
    tokens, segments = batch
    expected = (config.batch_size, config.context_length)
    if tokens.shape != expected:
        raise TrainingError(f"the batch has shape {tokens.shape}, the recipe says {expected}", where="train.batch_size")
    kept = None
    if config.masked_input_fraction is not None:
        kept = kept_inputs(seed, step, expected, config.masked_input_fraction)[part].to(device)
    return StepBatch(
        torch.from_numpy(tokens[part].astype(np.int64)).to(device),
        None if segments is None else torch.from_numpy(segments[part].astype(np.int64)).to(device),
        kept,
    )


def accumulate_gradients(wrapped: nn.Module, batch: StepBatch, micro_batch: int, *, num_ranks: int) -> Tensor:
    """This rank's share of the step's mean loss; its gradient, averaged over ranks, is that of the whole mean.

    Every micro-batch is scaled by the targets of the whole step, so that a last, smaller one weighs what it should.
    """
    rows, length = batch.tokens.shape
    scale = 1.0 / (rows * (length - 1))  # of this rank; the average over ranks divides by their number
    total = torch.zeros((), device=batch.tokens.device)
    for start in range(0, rows, micro_batch):
        part = slice(start, start + micro_batch)
        segments = None if batch.segments is None else batch.segments[part]
        kept = None if batch.kept is None else batch.kept[part]
        with without_sync(wrapped, is_last=start + micro_batch >= rows):
            loss = wrapped(batch.tokens[part], segments, kept, loss_scale=scale)
            loss.backward()
        total += loss.detach()
    return total / num_ranks
