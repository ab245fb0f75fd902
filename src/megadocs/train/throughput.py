"""How fast this machine multiplies matrices of the model's own shapes: what MFU is measured against.

    rate = matmul_rate(model.config, num_tokens=4096, device=device, dtype=torch.bfloat16)    # FLOP/s

MFU here is the FLOPs of `LlamaConfig.flops_per_token` per second over this rate, not over a data sheet's number: on a
CPU there is none, and on a GPU it is 20-30 % above what any kernel reaches. The measurement takes about a tenth of a
second and touches no state.
"""

from __future__ import annotations

import time

import torch

from megadocs.model.config import LlamaConfig

_SECONDS = 0.1


def matmul_shapes(config: LlamaConfig) -> dict[tuple[int, int], int]:
    """(inputs, outputs) of every matrix product of a forward pass, and how many times it occurs."""
    hidden, layers = config.hidden_size, config.num_hidden_layers
    query, key_value = config.num_attention_heads * config.head_dim, config.num_key_value_heads * config.head_dim
    shapes: dict[tuple[int, int], int] = {}
    for inputs, outputs, count in (
        (hidden, query, layers),
        (hidden, key_value, 2 * layers),
        (query, hidden, layers),
        (hidden, config.intermediate_size, 2 * layers),
        (config.intermediate_size, hidden, layers),
        (hidden, config.vocab_size, 1),
    ):
        shapes[inputs, outputs] = shapes.get((inputs, outputs), 0) + count
    return shapes


def matmul_rate(config: LlamaConfig, *, num_tokens: int, device: torch.device, dtype: torch.dtype) -> float:
    """FLOP/s over the forward products of the model, each weighted as often as it occurs, best of its repetitions."""
    shapes = matmul_shapes(config)
    flops, seconds = 0.0, 0.0
    for (inputs, outputs), count in shapes.items():
        x = torch.randn(num_tokens, inputs, device=device).to(dtype)
        w = torch.randn(outputs, inputs, device=device).to(dtype)
        flops += count * 2.0 * num_tokens * inputs * outputs
        seconds += count * _best_time(x, w, _SECONDS / len(shapes))
    return flops / seconds


def _best_time(x: torch.Tensor, w: torch.Tensor, budget: float) -> float:
    """Seconds of the fastest product: within the budget, three at least, one before to choose and make the kernel."""
    times: list[float] = []
    started = time.perf_counter()
    while len(times) < 4 or time.perf_counter() - started < budget:
        before = time.perf_counter()
        torch.nn.functional.linear(x, w)
        if x.is_cuda:
            torch.cuda.synchronize(x.device)
        times.append(time.perf_counter() - before)
    return min(times[1:])
