"""Causal self-attention, and masks that keep rows or documents apart.

    mask = attention_mask(segments_BT)              # None: the paper's cross-document attention
    out_BHTD = causal_attention(q_BHTD, k_BHTD, v_BHTD, mask)

Legend of suffixes: B batch, H query heads, G key and value heads, T positions, D head width.

torch's fused CPU kernel is slow at the sizes students train at on a CPU: 24.5 ms forward and backward for 16 x 2
heads x 256 x 64 in bfloat16, against 9 ms for plain batched products (AMD EPYC Zen 5, one thread), because its inner
products run in float32. Products and a softmax it is, then, for bfloat16 on the CPU up to `PLAIN_MAX_CONTEXT`
positions; scores are rounded to bfloat16, as in eager attention everywhere. All else (float32, CUDA, long context)
goes to `scaled_dot_product_attention`.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

#: Above this, T x T scores cost more memory than the fused kernel's time is worth.
PLAIN_MAX_CONTEXT = 1024


def attention_mask(segments_BT: Tensor | None) -> Tensor | None:
    """Which key each query may see, bool (B, 1, T, T): its own segment, up to itself. None for no segments."""
    if segments_BT is None:
        return None
    same_BTT = segments_BT[:, :, None] == segments_BT[:, None, :]
    return same_BTT.tril().unsqueeze(1)


def causal_attention(q_BHTD: Tensor, k_BGTD: Tensor, v_BGTD: Tensor, mask_B1TT: Tensor | None = None) -> Tensor:
    """Attention output (B, H, T, D). With a mask, causality must be in it (`attention_mask` puts it there)."""
    plain = q_BHTD.device.type == "cpu" and q_BHTD.dtype == torch.bfloat16 and q_BHTD.shape[2] <= PLAIN_MAX_CONTEXT
    if plain:
        return _plain_attention(q_BHTD, k_BGTD, v_BGTD, mask_B1TT)
    grouped = q_BHTD.shape[1] != k_BGTD.shape[1]
    return F.scaled_dot_product_attention(
        q_BHTD, k_BGTD, v_BGTD, attn_mask=mask_B1TT, is_causal=mask_B1TT is None, enable_gqa=grouped
    )


def _plain_attention(q_BHTD: Tensor, k_BGTD: Tensor, v_BGTD: Tensor, mask_B1TT: Tensor | None) -> Tensor:
    repeats = q_BHTD.shape[1] // k_BGTD.shape[1]
    if repeats > 1:
        k_BGTD = k_BGTD.repeat_interleave(repeats, dim=1)
        v_BGTD = v_BGTD.repeat_interleave(repeats, dim=1)
    length = q_BHTD.shape[2]
    if mask_B1TT is None:
        mask_B1TT = torch.ones(length, length, dtype=torch.bool, device=q_BHTD.device).tril()
    bias = torch.zeros(mask_B1TT.shape, dtype=q_BHTD.dtype).masked_fill_(~mask_B1TT, float("-inf"))
    out: Tensor = _PlainAttention.apply(q_BHTD, k_BGTD, v_BGTD, bias)  # type: ignore[no-untyped-call]
    return out


class _PlainAttention(torch.autograd.Function):
    """softmax(q k^T / sqrt(D) + bias) v with in-place steps: one T x T tensor saved, two alive at once."""

    @staticmethod
    def forward(ctx: Any, q_BHTD: Tensor, k_BHTD: Tensor, v_BHTD: Tensor, bias: Tensor) -> Tensor:
        q_BHTD = q_BHTD * q_BHTD.shape[-1] ** -0.5  # exact for heads of 64 and 16: a power of two
        scores_BHTT = torch.matmul(q_BHTD, k_BHTD.transpose(-1, -2)).add_(bias)
        weights_BHTT = torch.softmax(scores_BHTT, dim=-1)
        ctx.save_for_backward(q_BHTD, k_BHTD, v_BHTD, weights_BHTT)
        return torch.matmul(weights_BHTT, v_BHTD)

    @staticmethod
    def backward(ctx: Any, grad_BHTD: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        q_BHTD, k_BHTD, v_BHTD, weights_BHTT = ctx.saved_tensors
        grad_v = torch.matmul(weights_BHTT.transpose(-1, -2), grad_BHTD)
        grad_weights = torch.matmul(grad_BHTD, v_BHTD.transpose(-1, -2))
        grad_scores = torch._softmax_backward_data(grad_weights, weights_BHTT, -1, weights_BHTT.dtype)
        grad_q = torch.matmul(grad_scores, k_BHTD).mul_(q_BHTD.shape[-1] ** -0.5)
        grad_k = torch.matmul(grad_scores.transpose(-1, -2), q_BHTD)
        return grad_q, grad_k, grad_v, None
