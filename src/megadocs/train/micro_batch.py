"""How many windows fit in one forward and backward pass.

    rows = choose_micro_batch(config, model.config, rows=16, device=device)

The recipe's `micro_batch_size` is taken as it is, unless it cannot fit: then the error names what does. Without one,
as many windows are taken as fit by estimate in 80 % of the memory that gradients, moments and the loss will leave,
evenly over the passes of a step (one shape to compile), and on a CPU at most `CPU_TOKENS` tokens: more only push
activations out of the cache. A smaller last part weighs what it should (`step_batch.accumulate_gradients`).
"""

from __future__ import annotations

import torch

from megadocs.errors import TrainingError
from megadocs.machine import available_memory_bytes
from megadocs.model.attention import KEPT_BYTES, PLAIN_MAX_CONTEXT
from megadocs.model.config import LlamaConfig
from megadocs.model.loss import CUDA_BLOCK_BYTES, HALF_BLOCK_BYTES
from megadocs.recipe.training import TrainConfig

#: Tokens of a pass on a CPU beyond which nothing gets faster.
CPU_TOKENS = 16384
_SHARE = 0.8


def choose_micro_batch(
    config: TrainConfig, shape: LlamaConfig, *, rows: int, device: torch.device, num_ranks: int = 1
) -> int:
    """Windows per pass for a rank that trains `rows` windows a step (TrainingError if not one, or not as many, fit).

    Called when the parameters are on the device and nothing else is.
    """
    length = config.context_length
    one = activation_bytes(shape, length, config.dtype, device)
    free = free_bytes(device) - state_bytes(config, shape, device, num_ranks=num_ranks)
    fits = max(0, int(_SHARE * free // one))
    asked = config.micro_batch_size
    if fits < 1 or (asked is not None and min(asked, rows) > fits):
        raise TrainingError(
            f"{asked or 1} windows of {length} tokens need about {(asked or 1) * one / 1e9:.1f} GB for a pass; "
            f"{max(0, free) / 1e9:.1f} GB are left for it",
            where="train.micro_batch_size",
            remedy=f"use train.micro_batch_size={fits}"
            if fits
            else "use a shorter context, a smaller model or more ranks",
        )
    if asked is not None:
        return min(asked, rows)
    if device.type == "cpu":
        fits = min(fits, max(1, CPU_TOKENS // length))
    num_passes = -(-rows // min(fits, rows))
    return -(-rows // num_passes)


def state_bytes(config: TrainConfig, shape: LlamaConfig, device: torch.device, *, num_ranks: int) -> int:
    """Bytes a rank will need besides activations: gradients, both moments, averaged weights, the loss at its widest."""
    per_parameter = 12 + (4 if config.ema_decay is not None else 0)
    shards = num_ranks if config.parallel == "fsdp" else 1
    size = 2 if config.dtype == "bfloat16" else 4
    whole = size * shape.num_parameters + 4 * shape.vocab_size * shape.hidden_size  # cast weights; the head's gradient
    block = 6 * CUDA_BLOCK_BYTES if device.type == "cuda" else 4 * HALF_BLOCK_BYTES  # its logits, and float32 copies
    return per_parameter * shape.num_parameters // shards + whole + block


def activation_bytes(shape: LlamaConfig, length: int, dtype: str, device: torch.device) -> int:
    """Estimated bytes one window's forward pass keeps for its backward pass, plus a third for what is in flight."""
    size = 2 if dtype == "bfloat16" else 4
    query = shape.num_attention_heads * shape.head_dim
    key_value = shape.num_key_value_heads * shape.head_dim
    # Residual, two norms with float32 copies, q k v before and after rotation, attention out, gate, up, product.
    per_token = size * (7 * shape.hidden_size + 5 * query + 4 * key_value + 4 * shape.intermediate_size)
    per_layer = length * per_token
    if device.type == "cpu":  # scores of the kernels `plain` and `blocks`
        scores = size * shape.num_attention_heads * length * length
        per_layer += 2 * scores if length <= PLAIN_MAX_CONTEXT else min(scores // 2, KEPT_BYTES)
    return int(4 / 3 * (shape.num_hidden_layers * per_layer + 4 * size * length * shape.hidden_size))


def free_bytes(device: torch.device) -> int:
    """Memory that can still be had: of the GPU, or of this machine or container."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    available = available_memory_bytes()
    return available if available is not None else 1 << 62
