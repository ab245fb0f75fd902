"""Next-token loss from hidden states without the whole logits table.

    loss = linear_cross_entropy(hidden_ND, head_VD, targets_N, scale=1 / num_targets)

The loss is `scale` times the summed negative log-likelihood in nats, float32. Logits exist for one chunk of positions
at a time (about `CHUNK_BYTES` of float32), where they become gradients of the hidden states and of the head at once,
so that neither the logits nor their gradient is ever stored: at a vocabulary of 128,256 and 1,024 positions that is
525 MB less, twice. On a CPU a chunk also stays in the cache. Logits are float32 before the softmax (facts, section
6).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

#: float32 logits alive at once. 1 MB stays in a core's own cache and is enough rows for full-speed products.
CHUNK_BYTES = 1 << 20
MIN_CHUNK = 64


def linear_cross_entropy(hidden_ND: Tensor, head_VD: Tensor, targets_N: Tensor, *, scale: float) -> Tensor:
    """Scalar float32: scale x sum of -log p(target). hidden and head share a dtype; targets int64."""
    if not torch.is_grad_enabled():
        return token_losses(hidden_ND, head_VD, targets_N).sum() * scale
    loss: Tensor = _LinearCrossEntropy.apply(hidden_ND, head_VD, targets_N, scale)  # type: ignore[no-untyped-call]
    return loss


def token_losses(hidden_ND: Tensor, head_VD: Tensor, targets_N: Tensor) -> Tensor:
    """Negative log-likelihood of every target, nats, float32 (N,); no gradient."""
    losses = torch.empty(hidden_ND.shape[0], dtype=torch.float32, device=hidden_ND.device)
    with torch.no_grad():
        for start, stop in _chunks(hidden_ND.shape[0], head_VD.shape[0]):
            logits_CV = (hidden_ND[start:stop] @ head_VD.t()).float()
            target_C = logits_CV.gather(1, targets_N[start:stop, None]).squeeze(1)
            losses[start:stop] = torch.logsumexp(logits_CV, dim=-1) - target_C
    return losses


def _chunks(num_positions: int, vocab_size: int) -> list[tuple[int, int]]:
    size = max(MIN_CHUNK, CHUNK_BYTES // (4 * vocab_size))
    return [(start, min(start + size, num_positions)) for start in range(0, num_positions, size)]


class _LinearCrossEntropy(torch.autograd.Function):
    """Gradients are made in the forward pass, chunk by chunk, and only multiplied by the incoming scalar later."""

    @staticmethod
    def forward(ctx: Any, hidden_ND: Tensor, head_VD: Tensor, targets_N: Tensor, scale: float) -> Tensor:
        weight_VD = head_VD.to(hidden_ND.dtype)
        total = torch.zeros((), dtype=torch.float32, device=hidden_ND.device)
        grad_hidden = torch.empty_like(hidden_ND)
        grad_head = torch.zeros(head_VD.shape, dtype=torch.float32, device=head_VD.device)
        for start, stop in _chunks(hidden_ND.shape[0], head_VD.shape[0]):
            hidden_CD = hidden_ND[start:stop]
            losses_C, grad_CV = _chunk(hidden_CD, weight_VD, targets_N[start:stop, None], scale)
            total += losses_C.sum()
            torch.mm(grad_CV, weight_VD, out=grad_hidden[start:stop])
            grad_head += grad_CV.t() @ hidden_CD
        ctx.save_for_backward(grad_hidden, grad_head.to(head_VD.dtype))
        return total * scale

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None, None]:
        grad_hidden, grad_head = ctx.saved_tensors
        return grad_hidden * grad.to(grad_hidden.dtype), grad_head * grad.to(grad_head.dtype), None, None


def _chunk(hidden_CD: Tensor, weight_VD: Tensor, target_C1: Tensor, scale: float) -> tuple[Tensor, Tensor]:
    """Losses (C,) in float32 and scale x (softmax - one-hot) in the compute dtype, for one chunk."""
    logits_CV = (hidden_CD @ weight_VD.t()).float()
    target_logits = logits_CV.gather(1, target_C1)
    largest = logits_CV.amax(dim=-1, keepdim=True)
    probabilities_CV = torch.softmax(logits_CV, dim=-1)
    # The largest probability is at least 1/V, so its logarithm is safe: one pass cheaper than a second logsumexp.
    log_normaliser = largest - probabilities_CV.amax(dim=-1, keepdim=True).log()
    losses_C = (log_normaliser - target_logits).squeeze(1)
    probabilities_CV.scatter_add_(1, target_C1, torch.full_like(target_logits, -1.0))
    return losses_C, (probabilities_CV.mul_(scale)).to(hidden_CD.dtype)
