"""What a training run is asked to do, and what it tells while it works and at its end."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from megadocs.model.llama import Llama
from megadocs.recipe.training import ModelConfig, TrainConfig
from megadocs.train.run_plan import RunPlan

#: Tokens (B, T) of a step, integers; and segment ids (B, T) where attention stops at row or document ends.
Batch = tuple[np.ndarray[Any, Any], np.ndarray[Any, Any] | None]


class Mixture(Protocol):
    """What the loop asks of the data plan."""

    @property
    def num_steps(self) -> int:
        """Optimiser steps of the run."""

    def window_ids(self, step: int) -> Sequence[Hashable]:
        """Identities of the windows of a step, for the log."""


@dataclass(frozen=True)
class TrainingProgress:
    """What `progress` receives after each logged step. `mfu` is against the measured matmul rate (`throughput.py`)."""

    step: int
    num_steps: int
    loss: float
    learning_rate: float
    tokens_per_second: float
    mfu: float
    seconds_left: float


@dataclass(frozen=True)
class TrainSummary:
    """What a finished run amounts to. `attention_kernel`: see `model/attention.py`; None on a GPU."""

    final_loss: float
    num_steps: int
    num_tokens: int
    seconds: float
    tokens_per_second: float
    flops: float
    num_parameters: int
    model_dir: str
    attention_kernel: str | None = None


@dataclass(frozen=True, kw_only=True)
class TrainingJob:
    """One student to be trained from one seed, and what receives its progress."""

    recipe_model: ModelConfig  # shape of the student, or the pretrained model to continue from
    config: TrainConfig  # optimiser, context, checkpoints
    mixture: Mixture  # number of steps and the window ids of each
    #: step -> (tokens (batch_size, context_length), segment ids or None), the whole batch on every rank.
    read_batch: Callable[[int], Batch]
    vocab_size: int
    seed: int  # decides the initial weights (with the shape, nothing else) and masked inputs
    output_dir: Path  # the run's folder; the model goes to `model/` in it
    bos_id: int | None = None  # for the exported configuration
    eos_id: int | None = None
    #: copied into the exported folder; with `init_from` and its tokenizer, all of that model's own.
    tokenizer_files: Sequence[Path] = ()
    data_identity: dict[str, Any] | None = None  # JSON values naming the data; a resumed run must have the same
    announce: Callable[[RunPlan], None] | None = None  # receives steps, tokens, FLOPs and rates before the first step
    #: called after each logged step, first rank only, as `announce` is.
    progress: Callable[[TrainingProgress], None] | None = None
    #: receives what the person should know and the run goes on without, first rank only.
    warn: Callable[[str], None] | None = None
    #: called every `evaluate_every_steps` and at the end, on every rank; its numbers go to the metrics.
    evaluate: Callable[[Llama], dict[str, float]] | None = None
    strict_resume: bool = False  # refuse a damaged newest checkpoint instead of using the one before it
