"""One layer of the student as a single function with its own backward pass, for CPUs.

    out_BTD = fused_layer(x_BTD, LayerWeights(...), LayerSettings(...))

Taken apart, a narrow layer spends time on views, strided copies, zero-filled slices and Python beside its products: a
step of the 0.4M student (2 layers of 64, 4 x 256 tokens, float32, one AVX-512 core) takes 34.4 ms so, 31.9 with this
function and the loss in cached blocks; 11 are products. Here queries, keys and values are one product, gate and
up another; the norms' weights are multiplied into them (a row of the weight, not of every token); the rotation and its
reverse are three passes each; the gradient is written where it is needed. Same mathematics as `llama.Layer` taken apart
(tests/model/test_fused_layer.py), other rounding.

Legend of suffixes: N = B x T positions, D hidden, H query heads, G key and value heads, W head width, I intermediate.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from megadocs.model.attention import Kernel, Saved, SegmentGroup, attention_backward, attention_forward


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
    cos_TW: Tensor  # of the positions, compute dtype
    sin_TW: Tensor  # likewise, as `signed_sines` gives them
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
        qkv_weight = _scaled([w.query, w.key, w.value], w.norm_1, dtype)
        qkv = F.linear(normed_1, qkv_weight).view(*x_BTD.shape[:2], -1, width)
        heads, groups = w.query.shape[0] // width, w.key.shape[0] // width
        qk = _rotated(qkv[:, :, : heads + groups], settings.cos_TW, settings.sin_TW)
        q, k, v = qk[:, :, :heads], qk[:, :, heads:], qkv[:, :, heads + groups :]
        attended, saved = attention_forward(q, k, v, kernel=settings.kernel, groups=settings.groups, save=save)
        attended_N = attended.reshape(x_ND.shape[0], -1)
        middle_ND = torch.addmm(x_ND, attended_N, w.output.to(dtype).t())
        normed_2, scale_2 = _normalise(middle_ND, settings.eps)
        gate_up_weight = _scaled([w.gate, w.up], w.norm_2, dtype)
        gate_up = F.linear(normed_2, gate_up_weight)
        gate_NI, up_NI = gate_up.chunk(2, dim=-1)
        swish_NI = F.silu(gate_NI)
        product_NI = swish_NI * up_NI if save else swish_NI.mul_(up_NI)
        out_BTD = torch.empty_like(x_BTD, memory_format=torch.contiguous_format)  # no view: FSDP2 hooks into the output
        torch.addmm(middle_ND, product_NI, w.down.to(dtype).t(), out=out_BTD.view(-1, out_BTD.shape[-1]))
        if save:
            ctx.settings, ctx.attention = settings, saved
            ctx.save_for_backward(
                *parameters, normed_1, scale_1, qkv_weight, attended_N,
                normed_2, scale_2, gate_up_weight, gate_up, swish_NI, product_NI,
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
        grad_middle, grad_gate_up_weight, grad_down = _feed_forward_backward(grad_ND, w, *feed_forward)
        grad_attended = (grad_middle @ w.output.to(dtype)).view(*grad_BTD.shape[:2], -1, settings.head_dim)
        grad_qkv_N = _attention_backward(grad_attended, saved, settings).view(grad_ND.shape[0], -1)
        grad_x = _normalise_backward(grad_qkv_N @ qkv_weight, normed_1, scale_1).add_(grad_middle)
        grad_norm_1, grads_qkv = _unscaled(grad_qkv_N.t() @ normed_1, [w.query, w.key, w.value], w.norm_1)
        grad_norm_2, grads_gate_up = _unscaled(grad_gate_up_weight, [w.gate, w.up], w.norm_2)
        grad_output = (grad_middle.t() @ attended_N).to(w.output.dtype)
        grads = [grad_norm_1, *grads_qkv, grad_output, grad_norm_2, *grads_gate_up, grad_down.to(w.down.dtype)]
        return grad_x.view(grad_BTD.shape), None, None, *grads


def _feed_forward_backward(
    grad_ND: Tensor,
    w: LayerWeights,
    normed_ND: Tensor,
    scale_N1: Tensor,
    gate_up_weight: Tensor,
    gate_up: Tensor,
    swish_NI: Tensor,
    product_NI: Tensor,
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of the layer's middle (the skip connection's included), of gate and up below each other, of down."""
    grad_product = grad_ND @ w.down.to(grad_ND.dtype)
    gate_NI, up_NI = gate_up.chunk(2, dim=-1)
    grad_gate_up = torch.empty_like(gate_up)
    grad_gate, grad_up = grad_gate_up.chunk(2, dim=-1)
    torch.mul(grad_product, swish_NI, out=grad_up)
    torch.ops.aten.silu_backward.grad_input(grad_product.mul_(up_NI), gate_NI, grad_input=grad_gate)
    grad_middle = _normalise_backward(grad_gate_up @ gate_up_weight, normed_ND, scale_N1).add_(grad_ND)
    return grad_middle, grad_gate_up.t() @ normed_ND, grad_ND.t() @ product_NI


def _attention_backward(grad_BTHW: Tensor, saved: Saved, settings: LayerSettings) -> Tensor:
    """The gradient of queries, keys and values before their rotation, (B, T, H + 2 G, W)."""
    grad_q, grad_k, grad_v = attention_backward(grad_BTHW, saved)
    heads, groups = grad_q.shape[2], grad_k.shape[2]
    grad = grad_BTHW.new_empty(*grad_BTHW.shape[:2], heads + 2 * groups, settings.head_dim)
    _rotate_back(grad_q, settings.cos_TW, settings.sin_TW, out=grad[:, :, :heads])
    _rotate_back(grad_k, settings.cos_TW, settings.sin_TW, out=grad[:, :, heads : heads + groups])
    grad[:, :, heads + groups :] = grad_v
    return grad


def _normalise(x_ND: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    """x / rms(x) in x's dtype, and 1 / rms(x), float32 (N, 1)."""
    wide_ND = x_ND.float()
    scale_N1 = torch.rsqrt(wide_ND.square().mean(dim=-1, keepdim=True).add_(eps))
    scaled_ND = wide_ND * scale_N1 if wide_ND is x_ND else wide_ND.mul_(scale_N1)
    return scaled_ND.to(x_ND.dtype), scale_N1


def _normalise_backward(grad_ND: Tensor, normed_ND: Tensor, scale_N1: Tensor) -> Tensor:
    """The gradient of x from that of x / rms(x)."""
    wide_ND, normed_ND = grad_ND.float(), normed_ND.float()
    along_N1 = (wide_ND * normed_ND).mean(dim=-1, keepdim=True)
    return torch.addcmul(wide_ND, normed_ND, along_N1, value=-1).mul_(scale_N1).to(grad_ND.dtype)


def _scaled(weights: list[Tensor], norm_D: Tensor, dtype: torch.dtype) -> Tensor:
    """The weights below each other, every column times the norm's weight."""
    return torch.cat(weights).mul_(norm_D).to(dtype)


def _unscaled(grad_OD: Tensor, weights: list[Tensor], norm_D: Tensor) -> tuple[Tensor, list[Tensor]]:
    """Gradients of the norm's weight and of each weight from that of `_scaled`."""
    grads = torch.split(grad_OD.to(norm_D.dtype), [len(weight) for weight in weights])
    grad_norm = torch.zeros_like(norm_D)
    for grad, weight in zip(grads, weights, strict=True):
        grad_norm += (grad * weight).sum(dim=0)
    return grad_norm, [grad * norm_D for grad in grads]


def signed_sines(sin_TW: Tensor) -> Tensor:
    """Sines by which a head's swapped halves are multiplied when it is rotated: negative in the first half."""
    half = sin_TW.shape[-1] // 2
    return torch.cat([-sin_TW[:, :half], sin_TW[:, half:]], dim=-1)


def _rotated(x_BTHW: Tensor, cos_TW: Tensor, sin_TW: Tensor) -> Tensor:
    """`rope.rotate` of heads in the layout (B, T, H, W).

    Halves are swapped by a copy: on half a row of 32 numbers in bfloat16 torch's addcmul takes its path for single
    numbers (4 x 256 positions, four heads of 32: 580 us in halves, 205 so).
    """
    return (x_BTHW * cos_TW[:, None]).addcmul_(x_BTHW.roll(x_BTHW.shape[-1] // 2, -1), sin_TW[:, None])


def _rotate_back(grad_BTHW: Tensor, cos_TW: Tensor, sin_TW: Tensor, *, out: Tensor) -> None:
    """The gradient of what was rotated: turned the other way."""
    torch.mul(grad_BTHW, cos_TW[:, None], out=out)
    out.addcmul_(grad_BTHW.roll(grad_BTHW.shape[-1] // 2, -1), sin_TW[:, None], value=-1)
