"""Products of few rows with a weight, and what stands right behind them: in one operation where torch has one.

    matrix = fused_linear(weight_OI, num_rows=16)
    out_NO = matrix(x_NI)
    out_NO = matrix.plus(x_NI, residual_NO)
    hidden_NO = fused_swiglu(gate_OI, up_OI, num_rows=16)(x_NI)

Three ways to hold a weight. On a CPU in bfloat16 a product with one row is the weight's way from memory, and
`embedding_bag` (a weighted sum of the transposed weight's rows) streams it: sampling from 20M weights takes 2.3 ms a
token so, against 2.8 with oneDNN's product (one thread, AMD Zen 5); torch's linear is at 10 GB/s there, a quarter of
memory's rate. With more rows, oneDNN's own packed layout, as a frozen compiled model has it, takes half the time of
torch's linear (16 x 384 by 384 x 2048: 96 against 200 us), which goes into unpacking. All else is torch's linear.

Suffixes: N rows, I and O features in and out, C columns a chunk, K chunks.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from typing import Protocol, cast

import torch
import torch.nn.functional as F
from torch import Tensor

#: Columns a chunk of a streamed weight: rows of 512 to 768 bytes are read at 35-38 GB/s, whole ones at 31-33.
_MAX_COLUMNS, _MIN_COLUMNS = 384, 128


class FusedLinear(Protocol):
    """A weight that multiplies rows."""

    def __call__(self, x_NI: Tensor) -> Tensor:
        """The product, (N, O)."""
        ...

    def plus(self, x_NI: Tensor, other_NO: Tensor) -> Tensor:
        """The product and `other`."""
        ...


def fused_linear(weight_OI: Tensor, *, num_rows: int) -> FusedLinear:
    """The weight held in the way that is fastest for so many rows on its device."""
    if _is_packed(weight_OI, num_rows):
        return _Packed(weight_OI, num_rows)
    return _Streamed(weight_OI) if _is_bfloat16_on_cpu(weight_OI) and num_rows == 1 else _Plain(weight_OI)


def fused_swiglu(gate_OI: Tensor, up_OI: Tensor, *, num_rows: int) -> Callable[[Tensor], Tensor]:
    """A function of x_NI: swish of its product with the gate, times its product with `up`."""
    if _is_packed(gate_OI, num_rows):
        return partial(_Packed(up_OI, num_rows).times_swish, gate=_Packed(gate_OI, num_rows))
    both = fused_linear(torch.cat([gate_OI, up_OI]), num_rows=num_rows)

    def swiglu(x_NI: Tensor) -> Tensor:
        gated, product = both(x_NI).chunk(2, dim=-1)
        return F.silu(gated).mul_(product)

    return swiglu


class _Plain:
    def __init__(self, weight_OI: Tensor) -> None:
        self._weight = weight_OI.contiguous()

    def __call__(self, x_NI: Tensor) -> Tensor:
        return F.linear(x_NI, self._weight)

    def plus(self, x_NI: Tensor, other_NO: Tensor) -> Tensor:
        return torch.addmm(other_NO, x_NI, self._weight.t())


class _Streamed(_Plain):
    """Transposed, in chunks of columns; each is summed up by one bag. More rows (a prompt) are plain products."""

    def __init__(self, weight_OI: Tensor) -> None:
        size, features = weight_OI.shape
        columns = next((width for width in range(_MAX_COLUMNS, _MIN_COLUMNS - 1, -1) if size % width == 0), size)
        self._weight = torch.stack(
            [chunk_CI.t().contiguous() for chunk_CI in torch.split(weight_OI, columns)]
        )  # (K, I, C)
        self._rows = self._weight.view(-1, columns)
        self._index = torch.arange(self._rows.shape[0], dtype=torch.int32)
        self._bags = torch.arange(0, self._rows.shape[0], features, dtype=torch.int32)

    def __call__(self, x_NI: Tensor) -> Tensor:
        if x_NI.shape[0] > 1:
            return (x_NI @ self._weight).transpose(0, 1).flatten(1)
        weights = x_NI.expand(self._bags.shape[0], -1).reshape(-1)
        return torch.embedding_bag(self._rows, self._index, self._bags, False, 0, False, weights)[0].view(1, -1)

    def plus(self, x_NI: Tensor, other_NO: Tensor) -> Tensor:
        return self(x_NI).add_(other_NO)


class _Packed:
    def __init__(self, weight_OI: Tensor, num_rows: int) -> None:
        self._weight = torch.ops.mkldnn._reorder_linear_weight(weight_OI.contiguous(), num_rows)

    def __call__(self, x_NI: Tensor) -> Tensor:
        return cast(Tensor, torch.ops.mkldnn._linear_pointwise(x_NI, self._weight, None, "none", [], ""))

    def plus(self, x_NI: Tensor, other_NO: Tensor) -> Tensor:
        return self._binary(x_NI, other_NO, "add")

    def times_swish(self, x_NI: Tensor, gate: _Packed) -> Tensor:
        swish_NO = torch.ops.mkldnn._linear_pointwise(x_NI, gate._weight, None, "swish", [], "")
        return self._binary(x_NI, swish_NO, "mul")

    def _binary(self, x_NI: Tensor, other_NO: Tensor, name: str) -> Tensor:
        return cast(Tensor, torch.ops.mkldnn._linear_pointwise.binary(x_NI, other_NO, self._weight, None, name))


def _is_bfloat16_on_cpu(weight: Tensor) -> bool:
    return weight.dtype == torch.bfloat16 and weight.device.type == "cpu"


def _is_packed(weight: Tensor, num_rows: int) -> bool:
    return _is_bfloat16_on_cpu(weight) and num_rows > 1 and _can_pack()


@cache
def _can_pack() -> bool:
    """Whether this torch has the packed products (they are what its compiler uses, not part of its public face)."""
    return all(hasattr(torch.ops.mkldnn, name) for name in ("_reorder_linear_weight", "_linear_pointwise"))
