"""Next-token loss from hidden states without the whole logits table.

    loss = linear_cross_entropy(hidden_ND, head_VD, targets_N, scale=1 / num_targets)

The loss is `scale` times the summed negative log-likelihood in nats, float32. Positions are taken in blocks: a
block's logits are made in the compute dtype, become float32 a chunk of rows at a time (facts, section 6: logits are
float32 before the loss; a chunk stays in the core's cache), turn into their own gradient in place, and are multiplied
into the gradients of hidden states and head before the next block. So neither the logits nor their gradient is ever
stored whole: at a vocabulary of 128,256 and 1,024 positions that is 525 MB less in float32, twice.

torch's `F.linear_cross_entropy` does much the same from 2.13 on; it is not used because it took 82 ms where this
takes 24 (4,080 positions, 128 wide, vocabulary 2,048, one thread) and keeps its loss in bfloat16.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

#: Bytes of a block's logits, and the rows it has at least: fewer make the head's gradient the bottleneck, more fall out
#: of the cache between the products that use them (vocabulary 2,048, 64 wide, float32: the three products of 1,020 rows
#: take 5.7 ms in blocks of 256 and 6.7 in one). In bfloat16 a block's share of the head's gradient is a table before it
#: is added in float32, so that blocks are larger (4,096 positions, EPYC: .97 of the time of a step of 1.3M, .985 of
#: 20M). On a GPU the head's gradient is read and written once a block (0.8 GB
#: at 128,256 x 768), so a block is large.
BLOCK_BYTES = 1 << 20
HALF_BLOCK_BYTES = 1 << 23
CUDA_BLOCK_BYTES = 1 << 30
MIN_BLOCK = 256
#: Weights of a head that is small: its blocks may have this few rows, and its gradient is added up transposed, which
#: MKL does faster for float32 (2,048 x 64, 1,020 positions: the whole loss takes 10.0 ms instead of 12.1).
SMALL_HEAD = 1 << 19
MIN_BLOCK_OF_SMALL_HEAD = 128
#: Entries of the vocabulary whose head gradient is made at once on a CPU: bounds temporaries of the head's size.
HEAD_SLICE = 16384
#: Bytes of a chunk's float32 logits on a CPU, and its least rows. On a GPU a chunk is a block.
CHUNK_BYTES = 1 << 20
MIN_CHUNK = 8
_LOG2_E = math.log2(math.e)

#: (logits (C, V), targets (C, 1), scale) -> summed loss; the logits become scale x (softmax - one-hot).
LossKernel = Callable[[Tensor, Tensor, float], Tensor]


def linear_cross_entropy(
    hidden_ND: Tensor, head_VD: Tensor, targets_N: Tensor, *, scale: float, kernel: LossKernel | None = None
) -> Tensor:
    """Scalar float32: scale x sum of -log p(target). The head is cast to the states' dtype; targets are int64.

    Gradients are made here, not in the backward pass, which may therefore run once only. `kernel` does the work on a
    chunk of logits; None is the plain one (`compiled_kernel` makes a fused one).
    """
    if not torch.is_grad_enabled():
        return token_losses(hidden_ND, head_VD.to(hidden_ND.dtype), targets_N).sum() * scale
    loss: Tensor = _LinearCrossEntropy.apply(  # type: ignore[no-untyped-call]
        hidden_ND, head_VD, targets_N, scale, kernel or _to_gradient
    )
    return loss


@torch.no_grad()
def token_losses(hidden_ND: Tensor, head_VD: Tensor, targets_N: Tensor) -> Tensor:
    """Negative log-likelihood of every target, nats, float32 (N,); no gradient."""
    losses_N = torch.empty(hidden_ND.shape[0], dtype=torch.float32, device=hidden_ND.device)
    for block in _blocks(hidden_ND, head_VD, BLOCK_BYTES):
        logits_BV = hidden_ND[block] @ head_VD.t()
        for rows in _chunks(logits_BV):
            logits_CV = logits_BV[rows].float()
            target_C = logits_CV.gather(1, targets_N[block][rows, None]).squeeze(1)
            losses_N[block][rows] = torch.logsumexp(logits_CV, dim=-1) - target_C
    return losses_N


def _blocks(hidden_ND: Tensor, head_VD: Tensor, cpu_bytes: int) -> Iterator[slice]:
    num_positions = hidden_ND.shape[0]
    least = MIN_BLOCK_OF_SMALL_HEAD if _is_small(head_VD) else MIN_BLOCK
    block_bytes = CUDA_BLOCK_BYTES if hidden_ND.is_cuda else cpu_bytes
    size = max(least, block_bytes // (head_VD.shape[0] * hidden_ND.element_size()))
    yield from (slice(start, min(start + size, num_positions)) for start in range(0, num_positions, size))


def _is_small(head_VD: Tensor) -> bool:
    return head_VD.numel() <= SMALL_HEAD and not head_VD.is_cuda


def _chunks(logits_BV: Tensor) -> Iterator[slice]:
    num_rows, vocab_size = logits_BV.shape
    size = num_rows if logits_BV.is_cuda else max(MIN_CHUNK, CHUNK_BYTES // (4 * vocab_size))
    yield from (slice(start, min(start + size, num_rows)) for start in range(0, num_rows, size))


class _LinearCrossEntropy(torch.autograd.Function):
    """Gradients are made in the forward pass, block by block, and only multiplied by the incoming scalar later."""

    @staticmethod
    def forward(
        ctx: Any, hidden_ND: Tensor, head_VD: Tensor, targets_N: Tensor, scale: float, kernel: LossKernel
    ) -> Tensor:
        weight_VD = head_VD.to(hidden_ND.dtype)
        total = torch.zeros((), dtype=torch.float32, device=hidden_ND.device)
        grad_hidden = torch.empty_like(hidden_ND)
        is_turned = _is_small(head_VD) and hidden_ND.dtype == torch.float32
        shape = head_VD.shape[::-1] if is_turned else head_VD.shape
        grad_head = torch.zeros(shape, dtype=torch.float32, device=head_VD.device)
        cpu_bytes = BLOCK_BYTES if hidden_ND.dtype == torch.float32 else HALF_BLOCK_BYTES
        for block in _blocks(hidden_ND, weight_VD, cpu_bytes):
            table_BV = hidden_ND[block] @ weight_VD.t()  # logits, then their gradient
            for rows in _chunks(table_BV):
                total += kernel(table_BV[rows], targets_N[block][rows, None], scale)
            torch.mm(table_BV, weight_VD, out=grad_hidden[block])
            if is_turned:
                grad_head.addmm_(hidden_ND[block].t(), table_BV)
            else:
                _add_head_gradient(grad_head, table_BV, hidden_ND[block])
        if is_turned:
            grad_head = grad_head.t().contiguous()
        ctx.gradients = (grad_hidden, grad_head.to(head_VD.dtype))
        return total * scale

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None, None, None]:
        (grad_hidden, grad_head), ctx.gradients = ctx.gradients, None  # in place: no second table of the head's size
        return grad_hidden.mul_(grad), grad_head.mul_(grad), None, None, None


def _add_head_gradient(grad_VD: Tensor, table_BV: Tensor, hidden_BD: Tensor) -> None:
    """Add a block's share to the float32 gradient of the head."""
    if table_BV.dtype == torch.float32:
        grad_VD.addmm_(table_BV.t(), hidden_BD)  # no temporary
        return
    size = grad_VD.shape[0] if grad_VD.is_cuda else HEAD_SLICE
    for start in range(0, grad_VD.shape[0], size):
        entries = slice(start, start + size)
        grad_VD[entries] += table_BV[:, entries].t() @ hidden_BD


def _to_gradient(logits_CV: Tensor, target_C1: Tensor, scale: float) -> Tensor:
    """The chunk's summed loss; the logits become scale x (softmax - one-hot), in place.

    In powers of two, in place in float32: 2.4 ms for 1,020 x 2,048 logits where a softmax and copies took 3.3 (Intel
    AVX); with the largest taken off in the pass that multiplies, .25 instead of .31 for 128 x 2,048 (EPYC, bfloat16).
    """
    table = logits_CV if logits_CV.dtype == torch.float32 else logits_CV.float()
    target_logits = table.gather(1, target_C1)
    largest_C1 = table.amax(dim=-1, keepdim=True)
    torch.add(largest_C1 * -_LOG2_E, table, alpha=_LOG2_E, out=table)
    sums_C1 = table.exp2_().sum(dim=-1, keepdim=True)
    table.mul_(scale / sums_C1).scatter_add_(1, target_C1, torch.full_like(target_logits, -scale))
    if table is not logits_CV:
        logits_CV.copy_(table)
    return (sums_C1.log_() + (largest_C1 - target_logits)).sum()


def compiled_kernel() -> LossKernel:
    """The work on a chunk as one compiled kernel: two passes over the logits where the plain one makes a dozen."""
    compiled: LossKernel = torch.compile(_to_gradient_in_one, dynamic=False)
    return compiled


def _to_gradient_in_one(logits_CV: Tensor, target_C1: Tensor, scale: float) -> Tensor:
    """`_to_gradient` without scatters and in-place steps, which would keep a compiler from fusing it."""
    logits = logits_CV.float()
    log_normaliser = torch.logsumexp(logits, dim=-1, keepdim=True)
    losses_C1 = log_normaliser - logits.gather(1, target_C1)
    is_target = torch.arange(logits.shape[1], device=logits.device) == target_C1
    logits_CV.copy_((torch.exp(logits - log_normaliser) - is_target.float()) * scale)
    return losses_C1.sum()
