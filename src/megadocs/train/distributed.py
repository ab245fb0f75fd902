"""Many ranks, one run: joining them, sharding the model, gathering its state.

    with join_world(config) as world:                  # one rank where torchrun did not start us
        wrapped = parallelise(model, world, config)    # the model itself, DDP, or FSDP2 (in place)
        sums = world.sum(values)                       # over all ranks

Start with `torchrun --nproc-per-node N ...`; nothing else changes. Rank r trains rows [r x B / R, (r + 1) x B / R) of
each step's batch, so the windows of a step are the same for any number of ranks. DDP and FSDP2 average gradients; the
loss is scaled by the number of ranks before, which makes it a sum over the targets of the whole step. A rank that
dies or hangs ends the others: torchrun kills them, or their next collective times out after
`train.rank_timeout_seconds`.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
from torch import Tensor, nn

from megadocs.errors import RecipeError, TrainingError
from megadocs.model.llama import Llama
from megadocs.recipe.training import TrainConfig


@dataclass(frozen=True)
class World:
    """This process's place among the ranks of a run."""

    rank: int
    size: int
    device: torch.device

    @property
    def is_first(self) -> bool:
        """Whether this rank writes files and talks."""
        return self.rank == 0

    def sum(self, values: list[float]) -> list[float]:
        """Element-wise sums over all ranks (float64), the same on each."""
        if self.size == 1:
            return values
        tensor = torch.tensor(values, dtype=torch.float64, device=self.device)
        torch.distributed.all_reduce(tensor)
        return [float(value) for value in tensor.tolist()]

    def barrier(self) -> None:
        """Wait for all ranks."""
        self.sum([0.0])

    def part(self, num_rows: int) -> slice:
        """This rank's rows of a batch (RecipeError if the ranks do not divide it)."""
        if num_rows % self.size:
            raise RecipeError(
                f"{self.size} ranks do not divide the batch of {num_rows} windows",
                where="train.batch_size",
                remedy=f"use a batch that is a multiple of {self.size}, or another number of ranks",
            )
        rows = num_rows // self.size
        return slice(self.rank * rows, (self.rank + 1) * rows)


def choose_device(config: TrainConfig) -> torch.device:
    """The device of the recipe for this process; `auto` is CUDA where there is one."""
    has_cuda = torch.cuda.is_available()
    if config.device == "cuda" and not has_cuda:
        raise TrainingError("no CUDA device was found", where="train.device", remedy="use train.device=auto or cpu")
    if config.device == "cpu" or not has_cuda:
        return torch.device("cpu")
    return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))


@contextmanager
def join_world(config: TrainConfig) -> Iterator[World]:
    """This process's place; starts the process group when torchrun's variables are set, and ends it."""
    device = choose_device(config)
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        yield World(0, 1, device)
        return
    rank = int(os.environ["RANK"])
    started_here = not torch.distributed.is_initialized()
    if started_here:
        if device.type == "cuda":
            torch.cuda.set_device(device)
        torch.distributed.init_process_group(
            "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo",  # gloo: checkpoints are saved from the CPU
            rank=rank,
            world_size=size,
            timeout=timedelta(seconds=config.rank_timeout_seconds),
        )
    try:
        yield World(rank, size, device)
    finally:
        if started_here:
            torch.distributed.destroy_process_group()


def parallelise(model: Llama, world: World, config: TrainConfig) -> nn.Module:
    """The module to call in training; `model` keeps the parameters (sharded in place under FSDP2)."""
    if world.size == 1:
        return model
    if config.parallel == "ddp":
        devices = [world.device] if world.device.type == "cuda" else None
        return nn.parallel.DistributedDataParallel(model, device_ids=devices, gradient_as_bucket_view=True)
    shard(model, world.device, num_ranks=world.size)
    return model


def shard(model: Llama, device: torch.device, *, num_ranks: int) -> None:
    """Split every parameter over the ranks, in place (FSDP2): a layer's are whole only while it computes."""
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard

    mesh = init_device_mesh(device.type, (num_ranks,))
    policy = MixedPrecisionPolicy(param_dtype=model.compute_dtype, reduce_dtype=torch.float32)
    for layer in model.model.layers:
        fully_shard(layer, mesh=mesh, mp_policy=policy)
    fully_shard(model, mesh=mesh, mp_policy=policy)


def without_sync(wrapped: nn.Module, *, is_last: bool) -> AbstractContextManager[Any]:
    """Around a backward pass: gradients travel between ranks with a step's last micro-batch only."""
    if isinstance(wrapped, nn.parallel.DistributedDataParallel):
        return nullcontext() if is_last else wrapped.no_sync()
    set_sync = getattr(wrapped, "set_requires_gradient_sync", None)
    if set_sync is not None:
        set_sync(is_last)
    return nullcontext()


def is_sharded(tensor: Tensor) -> bool:
    """Whether the tensor is one rank's part of a larger one (a DTensor)."""
    return hasattr(tensor, "device_mesh")


def full_tensor(tensor: Tensor) -> Tensor:
    """The whole of a sharded tensor, on every rank; others as they are. Every rank must call it."""
    gather = getattr(tensor, "full_tensor", None)
    return tensor if gather is None else gather()


def gather_tensors(named: Iterable[tuple[str, Tensor]], world: World) -> dict[str, Tensor]:
    """Whole tensors on the CPU of the first rank; an empty dict elsewhere. Every rank must call it."""
    gathered = {}
    for name, tensor in named:
        whole = full_tensor(tensor.detach())
        if world.is_first:
            gathered[name] = whole.cpu()
    return gathered
