"""Runs on a GPU that repeat to the bit, at a price: `train.deterministic`.

    with deterministic_kernels(config, device): ...

On a CPU nothing is done: there every kernel that is used repeats already. On CUDA the kernels that add in whatever
order threads arrive (embedding gradients, attention's backward pass, split matrix products) are replaced by ordered
ones, and an operation that has none is an error. Bitwise repetition holds for one GPU model, one torch version and one
number of ranks.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from megadocs.recipe.training import TrainConfig

#: Eight buffers of 4 MB per stream: with them cuBLAS always takes the same path. Read when its handle is made.
_WORKSPACE = ("CUBLAS_WORKSPACE_CONFIG", ":4096:8")


@contextmanager
def deterministic_kernels(config: TrainConfig, device: torch.device) -> Iterator[None]:
    """Ordered kernels inside, where the recipe asks for them and the device is a GPU; after it, torch as before."""
    if not config.deterministic or device.type != "cuda":
        yield
        return
    deterministic: Any = torch.utils.deterministic
    os.environ.setdefault(*_WORKSPACE)
    before = (torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled())
    autotunes, fills = torch.backends.cudnn.benchmark, deterministic.fill_uninitialized_memory
    torch.use_deterministic_algorithms(True)
    torch.backends.cudnn.benchmark = False
    deterministic.fill_uninitialized_memory = False  # a debugging aid that writes every tensor twice
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before[0], warn_only=before[1])
        torch.backends.cudnn.benchmark = autotunes
        deterministic.fill_uninitialized_memory = fills
