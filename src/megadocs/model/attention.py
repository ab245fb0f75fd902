"""Causal self-attention: kernels to choose from, and boundaries that keep rows or documents apart.

    groups = segment_groups(segments_BT)                            # None: the paper's cross-document attention
    out_BTHW, saved = attention_forward(q_BTHW, k_BTGW, v_BTGW, kernel="fused", groups=groups, save=True)
    grad_q, grad_k, grad_v = attention_backward(grad_BTHW, saved)

On a CPU which kernel is fastest depends on the processor, the length and the compute type, by up to a factor of four,
so training measures (`attention_choice.py`). Forward and backward of 4 windows x 4 heads x 1,024 x 32, ms of CPU:

| kernel | Intel AVX-512, no AMX | Intel AMX |
|---|---|---|
| `plain`: products and a softmax, bfloat16 | 187 | 135 |
| `fused`: torch's kernel, bfloat16 | 109 | 70 |
| `fused_float32`: the same on float32 copies | 58 | 65 |

On an EPYC with bfloat16 instructions `blocks` wins at every length: 4 windows x 2 heads x 1,024 x 64 take 18 ms where
`fused` takes 50; one window of 4,096, 59 to 154.

Boundaries need no T x T mask on a CPU: the positions of one segment are gathered, in order, into a sequence of their
own, and sequences of like length are attended to as one batch. Padding stands at the end, where causality hides it.

Legend of suffixes: B batch, H query heads, G key and value heads, T positions, W head width, N = B x T, S sequences,
L positions of the longest of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor

Kernel = Literal["plain", "blocks", "fused", "fused_float32"]
KERNELS: tuple[Kernel, ...] = get_args(Kernel)

#: Queries of a block of the kernel `blocks`: the later half of the keys is skipped for the earlier half of the queries.
QUERY_BLOCK = 128
#: The same for long sequences, where larger products pay (2 heads of 64, 4,096 long: 67 ms in 128s, 59 in 256s).
LONG_QUERY_BLOCK = 256
#: Above this, the T x T scores of `plain` cost more memory than they are worth.
PLAIN_MAX_CONTEXT = 1024
#: Bytes of softmax weights that `blocks` keeps for its backward pass in longer sequences; more are made again, the same
#: bits for a third more time (at 4,096: 82 ms instead of 59, where torch's kernel takes 154).
KEPT_BYTES = 1 << 26


def attention_mask(segments_BT: Tensor | None) -> Tensor | None:
    """Which key each query may see, bool (B, 1, T, T): its own segment, up to itself. None for no segments."""
    if segments_BT is None:
        return None
    same_BTT = segments_BT[:, :, None] == segments_BT[:, None, :]
    return same_BTT.tril().unsqueeze(1)


def masked_attention(q_BHTW: Tensor, k_BGTW: Tensor, v_BGTW: Tensor, mask_B1TT: Tensor | None = None) -> Tensor:
    """torch's attention (B, H, T, W), for GPUs and compiled layers. With a mask, causality must be in it."""
    grouped = q_BHTW.shape[1] != k_BGTW.shape[1]
    return F.scaled_dot_product_attention(
        q_BHTW, k_BGTW, v_BGTW, attn_mask=mask_B1TT, is_causal=mask_B1TT is None, enable_gqa=grouped
    )


def default_kernel(dtype: torch.dtype, length: int) -> Kernel:
    """The kernel where nothing was measured (scoring, mostly float32: torch's is the fastest there at any length)."""
    return "plain" if dtype == torch.bfloat16 and length <= PLAIN_MAX_CONTEXT else "fused"


def candidates(dtype: torch.dtype, length: int) -> tuple[Kernel, ...]:
    """The kernels that are worth measuring."""
    own: tuple[Kernel, ...] = ()
    if length <= PLAIN_MAX_CONTEXT:
        own = ("plain",)
    if length > QUERY_BLOCK:
        own = (*own, "blocks")
    return (*own, "fused") if dtype == torch.float32 else (*own, "fused", "fused_float32")


def causal_attention(
    q_BHTW: Tensor, k_BGTW: Tensor, v_BGTW: Tensor, kernel: Kernel, *, keep_weights: bool | None = None
) -> Tensor:
    """Attention output (B, H, T, W) in the dtype of q, differentiable.

    Args:
        keep_weights: whether `blocks` keeps its weights for the backward pass; None: where they are few enough.
    """
    if kernel == "fused":
        return masked_attention(q_BHTW, k_BGTW, v_BGTW)
    if kernel == "fused_float32":
        return masked_attention(q_BHTW.float(), k_BGTW.float(), v_BGTW.float()).to(q_BHTW.dtype)
    repeats = q_BHTW.shape[1] // k_BGTW.shape[1]
    if repeats > 1:
        k_BGTW, v_BGTW = (x.repeat_interleave(repeats, dim=1) for x in (k_BGTW, v_BGTW))
    batch, heads, length, _ = q_BHTW.shape
    if keep_weights is None:
        keep_weights = keeps_weights(batch * heads, length, q_BHTW.dtype)
    block = LONG_QUERY_BLOCK if length > PLAIN_MAX_CONTEXT else QUERY_BLOCK
    out: Tensor = _BlockAttention.apply(  # type: ignore[no-untyped-call]
        q_BHTW, k_BGTW, v_BGTW, length if kernel == "plain" else block, keep_weights
    )
    return out


def keeps_weights(num_heads: int, length: int, dtype: torch.dtype) -> bool:
    """Whether `blocks` keeps the softmax weights of so many heads (of all windows) for the backward pass."""
    return length <= PLAIN_MAX_CONTEXT or num_heads * length**2 // 2 * dtype.itemsize <= KEPT_BYTES


@dataclass(frozen=True)
class SegmentGroup:
    """S segments of like length."""

    flat_SL: Tensor  # int64, their positions among the N = B x T of the batch; 0 where padded
    is_token_SL: Tensor  # bool, False where padded
    flat_M: Tensor  # int64, the M positions that are none of the padding, in the order of `is_token_SL`


def segment_groups(segments_BT: Tensor | None) -> list[SegmentGroup] | None:
    """The positions of every segment of every window in sequences of their own; None for no segments.

    A segment is all positions of a window with the same id, next to each other or not, as in `attention_mask`.
    """
    if segments_BT is None:
        return None
    rows, length = segments_BT.shape
    ids_BT = segments_BT - segments_BT.min()
    owners_N = (ids_BT + torch.arange(rows, device=ids_BT.device)[:, None] * (ids_BT.max() + 1)).reshape(-1)
    order_N = torch.argsort(owners_N, stable=True)
    counts = torch.unique_consecutive(owners_N[order_N], return_counts=True)[1].tolist()
    by_width: dict[int, list[Tensor]] = {}
    for positions in torch.split(order_N, counts):
        by_width.setdefault(_padded_width(len(positions), length), []).append(positions)
    return [_group(sequences, width) for width, sequences in sorted(by_width.items())]


def _group(sequences: Sequence[Tensor], width: int) -> SegmentGroup:
    flat_SL = torch.stack([F.pad(positions, (0, width - len(positions)), value=-1) for positions in sequences])
    is_token_SL = flat_SL >= 0
    return SegmentGroup(flat_SL.clamp_min(0), is_token_SL, flat_SL[is_token_SL])


def _padded_width(length: int, longest: int) -> int:
    """16, 24, 32, 48, 64, 96...: at most half a segment of padding, few batches."""
    width = 16
    while width < length:
        width = width * 3 // 2 if width & (width - 1) == 0 else width * 4 // 3
    return min(width, longest)


#: Of each group: the group (None: the whole batch), the leaves q, k, v and what came out of them.
Saved = list[tuple[SegmentGroup | None, list[Tensor], Tensor]]


def attention_forward(
    q_BTHW: Tensor, k_BTGW: Tensor, v_BTGW: Tensor, *, kernel: Kernel, groups: list[SegmentGroup] | None, save: bool
) -> tuple[Tensor, Saved]:
    """Output (B, T, H, W), and what `attention_backward` needs where `save` is set (empty otherwise)."""
    saved: Saved = []
    out_BTHW = torch.empty_like(q_BTHW, memory_format=torch.contiguous_format)
    for group in groups if groups is not None else [None]:
        leaves = [_gather(x, group).detach().requires_grad_(save) for x in (q_BTHW, k_BTGW, v_BTGW)]
        with torch.set_grad_enabled(save):
            q, k, v = (leaf.transpose(1, 2) for leaf in leaves)
            out = causal_attention(q, k, v, kernel).transpose(1, 2)
        if save:
            saved.append((group, leaves, out))
        if group is None:
            return out.detach(), saved
        _scatter(out.detach(), group, out_BTHW)
    return out_BTHW, saved


def attention_backward(grad_BTHW: Tensor, saved: Saved) -> list[Tensor]:
    """Gradients of q, k and v, each in its layout."""
    totals: list[Tensor] = []
    for group, leaves, out in saved:
        grads = torch.autograd.grad(out, leaves, _gather(grad_BTHW, group, zero_padding=True))
        if group is None:
            return list(grads)
        totals = totals or [grad_BTHW.new_empty(*grad_BTHW.shape[:2], *grad.shape[2:]) for grad in grads]
        for total, grad in zip(totals, grads, strict=True):
            _scatter(grad, group, total)
    return totals


def _gather(x_BTHW: Tensor, group: SegmentGroup | None, *, zero_padding: bool = False) -> Tensor:
    """The group's sequences, (S, L, H, W); the whole batch for no group."""
    if group is None:
        return x_BTHW
    gathered = x_BTHW.flatten(0, 1)[group.flat_SL]
    return gathered * group.is_token_SL[:, :, None, None] if zero_padding else gathered


def _scatter(x_SLHW: Tensor, group: SegmentGroup, out_BTHW: Tensor) -> None:
    """The group's tokens to their places in the batch; every position belongs to one sequence."""
    out_BTHW.view(-1, *out_BTHW.shape[2:])[group.flat_M] = x_SLHW[group.is_token_SL]


class _BlockAttention(torch.autograd.Function):
    """softmax(q k^T / sqrt(W)) v over blocks of queries, each with the keys up to its own end; in-place steps.

    Whatever a product reads is laid out in one piece first: of a slice of all heads torch makes a copy itself, and of a
    transposed one number by number (8 heads, 128 queries, 896 keys of 64: 1.05 ms of the slice, .75 with its copy).
    Blocks go from the last to the first, so that each finds the memory of a larger one in the cache.
    """

    @staticmethod
    def forward(ctx: Any, q_BHTW: Tensor, k_BHTW: Tensor, v_BHTW: Tensor, block: int, keep_weights: bool) -> Tensor:
        out_BHTW = torch.empty_like(q_BHTW)
        scaled_BHTW = q_BHTW * q_BHTW.shape[-1] ** -0.5  # exact for heads of 64 and 16: a power of two
        k_BHTW, v_BHTW = k_BHTW.contiguous(), v_BHTW.contiguous()
        size, queries, kept = min(block, q_BHTW.shape[2]), [], []
        ctx.block, ctx.later = block, torch.full((size, size), float("-inf"), dtype=q_BHTW.dtype).triu_(1)
        for start, stop in _blocks(q_BHTW.shape[2], block):
            q = scaled_BHTW[:, :, start:stop].contiguous()
            weight = _block_weights(q, k_BHTW[:, :, :stop].contiguous(), ctx.later)
            out_BHTW[:, :, start:stop] = torch.matmul(weight, v_BHTW[:, :, :stop].contiguous())
            queries.append(q)
            if keep_weights:
                kept.append(weight)
        ctx.num_blocks = len(queries)
        ctx.save_for_backward(k_BHTW, v_BHTW, *queries, *kept)
        return out_BHTW

    @staticmethod
    def backward(ctx: Any, grad_BHTW: Tensor) -> tuple[Tensor, Tensor, Tensor, None, None]:
        k_BHTW, v_BHTW, *saved = ctx.saved_tensors
        queries, kept = saved[: ctx.num_blocks], saved[ctx.num_blocks :]
        grad_q, grad_k, grad_v = (torch.empty_like(x) for x in (k_BHTW, k_BHTW, v_BHTW))
        for index, (start, stop) in enumerate(_blocks(k_BHTW.shape[2], ctx.block)):
            q, k, v = queries[index], k_BHTW[:, :, :stop].contiguous(), v_BHTW[:, :, :stop].contiguous()
            weight = kept[index] if kept else _block_weights(q, k, ctx.later)
            grad = grad_BHTW[:, :, start:stop].contiguous()
            grad_scores = torch._softmax_backward_data(
                torch.matmul(grad, v.transpose(-1, -2)), weight, -1, weight.dtype
            )
            grad_q[:, :, start:stop] = torch.matmul(grad_scores, k)
            for total, share in (
                (grad_v, torch.matmul(weight.transpose(-1, -2), grad)),
                (grad_k, torch.matmul(grad_scores.transpose(-1, -2), q)),
            ):
                if index == 0:  # of the last block, which has all keys
                    total.copy_(share)
                else:
                    total[:, :, :stop] += share
        return grad_q.mul_(k_BHTW.shape[-1] ** -0.5), grad_k, grad_v, None, None


def _blocks(length: int, block: int) -> Iterator[tuple[int, int]]:
    """First and last position of each block, the last block first."""
    yield from ((start, min(start + block, length)) for start in reversed(range(0, length, block)))


def _block_weights(q_BHQW: Tensor, k_BHSW: Tensor, later: Tensor) -> Tensor:
    """Attention of the last Q of S positions to all; `later` is -inf above its diagonal."""
    scores = torch.matmul(q_BHQW, k_BHSW.transpose(-1, -2))
    size = q_BHQW.shape[2]
    scores[..., -size:].add_(later[:size, :size])
    return torch.softmax(scores, dim=-1)
