"""One layer of the student as a single function with its own backward pass, for CPUs.

    out_BTD = fused_layer(x_BTD, LayerWeights(...), LayerSettings(...))

Taken apart, a narrow layer spends time on views, strided copies, zero-filled slices and Python beside its products: a
step of the 0.4M student (2 layers of 64, 4 x 256 tokens, float32, one AVX-512 core) takes 34.4 ms so, 31.9 with this
function and the loss in cached blocks; 11 are products. Here queries, keys and values are one product; the norms'
weights are multiplied into the products' (a row of the weight, not of every token); the gradient is written where it is
needed. Same mathematics as `llama.Layer` taken apart (tests/model/test_fused_layer.py), other rounding.

What is not a product costs by how numbers lie in memory, not by their count (4,096 positions, bfloat16, EPYC Zen 4):

- Gate and up are products of their own: as halves of rows of 704 numbers, SiLU takes 1.6 ms, on a piece of its own .9,
  its gradient 2.1 and 1.1 (of 352 numbers torch's kernels do the last 32 one by one).
- The two numbers that rotate together lie side by side, as the rows of the query's and key's weight are laid out, so
  that a rotation is one product of complex numbers in float32, rounded once: .5 ms where a swap of halves and two
  passes in bfloat16 took 1.0; its reverse .7 and 1.5.

Legend of suffixes: N = B x T positions, D hidden, H query heads, G key and value heads, W head width, P = W / 2 pairs,
I intermediate.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from megadocs.model.attention import Kernel, Saved, SegmentGroup, attention_backward, attention_forward

#: Rows of a norm's gradient that are made at once, so that their float32 copies stay in the core's cache: .97 of a
#: step of 1.3M.
NORM_BLOCK = 512


class LayerWeights(NamedTuple):
    """A layer's parameters; products are (outputs, inputs), norms (D,)."""

    norm_1: Tensor
    query: Tensor
    key: Tensor
    value: Tensor
    output: Tensor
    norm_2: Tensor
    gate: Tensor
    up: Tensor
    down: Tensor


class LayerSettings(NamedTuple):
    """What a layer's function needs besides tensors with gradients."""

    head_dim: int  # W
    eps: float  # of the norms
    phases_T1P: Tensor  # of the positions, complex64, as `phases` gives them
    kernel: Kernel
    groups: list[SegmentGroup] | None  # positions by segment, or None


def fused_layer(x_BTD: Tensor, weights: LayerWeights, settings: LayerSettings) -> Tensor:
    """The layer's output, (B, T, D) in the dtype of x."""
    out: Tensor = _FusedLayer.apply(x_BTD, settings, torch.is_grad_enabled(), *weights)  # type: ignore[no-untyped-call]
    return out


class _FusedLayer(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x_BTD: Tensor, settings: LayerSettings, save: bool, *parameters: Tensor) -> Tensor:
        w = LayerWeights(*parameters)
        dtype, width = x_BTD.dtype, settings.head_dim
        x_ND = x_BTD.reshape(-1, x_BTD.shape[-1])
        normed_1, scale_1 = _normalise(x_ND, settings.eps)
        qkv_weight = _scaled([_paired(w.query, width), _paired(w.key, width), w.value], w.norm_1, dtype)
        qkv = F.linear(normed_1, qkv_weight).view(*x_BTD.shape[:2], -1, width)
        heads, groups = w.query.shape[0] // width, w.key.shape[0] // width
        qk = _turned(qkv[:, :, : heads + groups], settings.phases_T1P).to(dtype)
        q, k, v = qk[:, :, :heads], qk[:, :, heads:], qkv[:, :, heads + groups :]
        attended, saved = attention_forward(q, k, v, kernel=settings.kernel, groups=settings.groups, save=save)
        attended_N = attended.reshape(x_ND.shape[0], -1)
        middle_ND = torch.addmm(x_ND, attended_N, w.output.to(dtype).t())
        normed_2, scale_2 = _normalise(middle_ND, settings.eps)
        gate_weight, up_weight = (_scaled([weight], w.norm_2, dtype) for weight in (w.gate, w.up))
        gate_NI, up_NI = F.linear(normed_2, gate_weight), F.linear(normed_2, up_weight)
        swish_NI = F.silu(gate_NI)
        product_NI = swish_NI * up_NI if save else swish_NI.mul_(up_NI)
        out_BTD = torch.empty_like(x_BTD, memory_format=torch.contiguous_format)  # no view: FSDP2 hooks into the output
        torch.addmm(middle_ND, product_NI, w.down.to(dtype).t(), out=out_BTD.view(-1, out_BTD.shape[-1]))
        if save:
            ctx.settings, ctx.attention = settings, saved
            ctx.save_for_backward(
                *parameters, normed_1, scale_1, qkv_weight, attended_N,
                normed_2, scale_2, gate_weight, up_weight, gate_NI, up_NI, swish_NI, product_NI,
            )  # fmt: skip
        return out_BTD

    @staticmethod
    def backward(ctx: Any, grad_BTD: Tensor) -> tuple[Tensor | None, ...]:
        settings, saved, ctx.attention = ctx.settings, ctx.attention, None
        count = len(LayerWeights._fields)
        w = LayerWeights(*ctx.saved_tensors[:count])
        normed_1, scale_1, qkv_weight, attended_N, *feed_forward = ctx.saved_tensors[count:]
        grad_ND = grad_BTD.reshape(-1, grad_BTD.shape[-1])
        dtype = grad_ND.dtype
        grad_middle, *grads_gate_up, grad_down = _feed_forward_backward(grad_ND, w, *feed_forward)
        grad_attended = (grad_middle @ w.output.to(dtype)).view(*grad_BTD.shape[:2], -1, settings.head_dim)
        grad_qkv_N = _attention_backward(grad_attended, saved, settings).view(grad_ND.shape[0], -1)
        grad_x = _normalise_backward(grad_qkv_N @ qkv_weight, normed_1, scale_1, plus_ND=grad_middle)
        grad_q, grad_k, grad_v = (grad_qkv_N.t() @ normed_1).split(
            [len(weight) for weight in (w.query, w.key, w.value)]
        )
        grads_qkv = [_unpaired(grad_q, settings.head_dim), _unpaired(grad_k, settings.head_dim), grad_v]
        grad_norm_1, grads_qkv = _unscaled(grads_qkv, [w.query, w.key, w.value], w.norm_1)
        grad_norm_2, grads_gate_up = _unscaled(grads_gate_up, [w.gate, w.up], w.norm_2)
        grad_output = (grad_middle.t() @ attended_N).to(w.output.dtype)
        grads = [grad_norm_1, *grads_qkv, grad_output, grad_norm_2, *grads_gate_up, grad_down.to(w.down.dtype)]
        return grad_x.view(grad_BTD.shape), None, None, *grads


def _feed_forward_backward(
    grad_ND: Tensor,
    w: LayerWeights,
    normed_ND: Tensor,
    scale_N1: Tensor,
    gate_weight: Tensor,
    up_weight: Tensor,
    gate_NI: Tensor,
    up_NI: Tensor,
    swish_NI: Tensor,
    product_NI: Tensor,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Gradients of the layer's middle (the skip connection's included), of gate, up and down."""
    grad_NI = grad_ND @ w.down.to(grad_ND.dtype)
    grad_up_NI = grad_NI * swish_NI
    grad_gate_NI = grad_NI.mul_(up_NI)
    torch.ops.aten.silu_backward.grad_input(grad_gate_NI, gate_NI, grad_input=grad_gate_NI)
    grad_normed_ND = (grad_gate_NI @ gate_weight).addmm_(grad_up_NI, up_weight)
    grad_middle = _normalise_backward(grad_normed_ND, normed_ND, scale_N1, plus_ND=grad_ND)
    return grad_middle, grad_gate_NI.t() @ normed_ND, grad_up_NI.t() @ normed_ND, grad_ND.t() @ product_NI


def _attention_backward(grad_BTHW: Tensor, saved: Saved, settings: LayerSettings) -> Tensor:
    """The gradient of queries, keys and values before their rotation, (B, T, H + 2 G, W)."""
    grad_q, grad_k, grad_v = attention_backward(grad_BTHW, saved)
    heads, groups = grad_q.shape[2], grad_k.shape[2]
    grad = grad_BTHW.new_empty(*grad_BTHW.shape[:2], heads + 2 * groups, settings.head_dim)
    back_T1P = settings.phases_T1P.conj().resolve_conj()
    grad[:, :, :heads] = _turned(grad_q, back_T1P)
    grad[:, :, heads : heads + groups] = _turned(grad_k, back_T1P)
    grad[:, :, heads + groups :] = grad_v
    return grad


def fused_norm(x_BTD: Tensor, weight_D: Tensor, eps: float) -> Tensor:
    """RMSNorm, same shape and dtype as x: a third of the passes that autograd makes of torch's."""
    out: Tensor = _FusedNorm.apply(x_BTD, weight_D, eps)  # type: ignore[no-untyped-call]
    return out


class _FusedNorm(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x_BTD: Tensor, weight_D: Tensor, eps: float) -> Tensor:
        wide_ND, scale_N1 = _normalise(x_BTD.float().flatten(0, 1), eps)
        ctx.save_for_backward(wide_ND.to(x_BTD.dtype), scale_N1, weight_D)
        return wide_ND.mul(weight_D).to(x_BTD.dtype).view(x_BTD.shape)

    @staticmethod
    def backward(ctx: Any, grad_BTD: Tensor) -> tuple[Tensor, Tensor, None]:
        normed_ND, scale_N1, weight_D = ctx.saved_tensors
        wide_ND = grad_BTD.float().flatten(0, 1)
        grad_weight = (wide_ND * normed_ND).sum(dim=0)
        grad_x = _normalise_backward(wide_ND * weight_D, normed_ND, scale_N1).to(grad_BTD.dtype)
        return grad_x.view(grad_BTD.shape), grad_weight, None


def _normalise(x_ND: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    """x / rms(x) in x's dtype, and 1 / rms(x), float32 (N, 1)."""
    wide_ND = x_ND.float()
    squares_N1 = torch.linalg.vector_norm(wide_ND, dim=-1, keepdim=True).square_()
    scale_N1 = squares_N1.div_(x_ND.shape[-1]).add_(eps).rsqrt_()
    scaled_ND = wide_ND * scale_N1 if wide_ND is x_ND else wide_ND.mul_(scale_N1)
    return scaled_ND.to(x_ND.dtype), scale_N1


def _normalise_backward(
    grad_ND: Tensor, normed_ND: Tensor, scale_N1: Tensor, *, plus_ND: Tensor | None = None
) -> Tensor:
    """The gradient of x from that of x / rms(x), and `plus_ND` added; a float32 gradient is written over."""
    out_ND = torch.empty_like(grad_ND)
    for start in range(0, grad_ND.shape[0], NORM_BLOCK):
        rows = slice(start, start + NORM_BLOCK)
        wide_ND, wide_normed_ND = grad_ND[rows].float(), normed_ND[rows].float()
        along_N1 = (wide_ND * wide_normed_ND).mean(dim=-1, keepdim=True)
        wide_ND.addcmul_(wide_normed_ND, along_N1, value=-1).mul_(scale_N1[rows])
        out_ND[rows] = wide_ND if plus_ND is None else wide_ND.add_(plus_ND[rows])
    return out_ND


def _scaled(weights: list[Tensor], norm_D: Tensor, dtype: torch.dtype) -> Tensor:
    """The weights below each other, every column times the norm's weight."""
    return (torch.cat(weights) if len(weights) > 1 else weights[0]).mul(norm_D).to(dtype)


def _unscaled(grads: list[Tensor], weights: list[Tensor], norm_D: Tensor) -> tuple[Tensor, list[Tensor]]:
    """Gradients of the norm's weight and of each weight from those of `_scaled`."""
    grads = [grad.to(norm_D.dtype) for grad in grads]
    grad_norm = torch.zeros_like(norm_D)
    for grad, weight in zip(grads, weights, strict=True):
        grad_norm += (grad * weight).sum(dim=0)
    return grad_norm, [grad * norm_D for grad in grads]


def phases(cos_TW: Tensor, sin_TW: Tensor) -> Tensor:
    """The tables of `rope_tables` as complex numbers of absolute value 1, one for each pair, (T, 1, P)."""
    pairs = cos_TW.shape[-1] // 2
    return torch.complex(cos_TW[:, None, :pairs].float(), sin_TW[:, None, :pairs].float())


def _turned(x_BTHW: Tensor, phases_T1P: Tensor) -> Tensor:
    """`rope.rotate` of heads whose pairs lie side by side, float32; x is written over if it is float32 itself."""
    wide_BTHW = x_BTHW.float()
    torch.view_as_complex(wide_BTHW.view(*wide_BTHW.shape[:-1], -1, 2)).mul_(phases_T1P)
    return wide_BTHW


def _paired(weight_OD: Tensor, width: int) -> Tensor:
    """Rows of heads whose halves rotate together, in the order in which the two of a pair lie side by side."""
    return weight_OD.view(-1, 2, width // 2, weight_OD.shape[-1]).transpose(1, 2).reshape(weight_OD.shape)


def _unpaired(weight_OD: Tensor, width: int) -> Tensor:
    """The reverse of `_paired`."""
    return weight_OD.view(-1, width // 2, 2, weight_OD.shape[-1]).transpose(1, 2).reshape(weight_OD.shape)
