"""Products of few rows with a weight, and what stands right behind them: in one operation where torch has one.

    matrix = fused_linear(weight_OI, num_rows=16)
    out_NO = matrix(x_NI)
    out_NO = matrix.plus(x_NI, residual_NO)
    hidden_NO = fused_swiglu(gate_OI, up_OI, num_rows=16)(x_NI)

A weight on a CPU is held in the way that is fastest for its type; on other devices a product is torch's linear.

- bfloat16, one row: such a product is bound by reading its weight, and `embedding_bag` (a weighted sum of the
  transposed weight's rows) streams it where torch's linear has a quarter of memory's rate.
- bfloat16 and float32, more rows: oneDNN's own packed layout, as a frozen compiled model has it; torch's linear takes
  up to twice as long, which goes into unpacking.
- float16: FBGEMM's packed half-precision weights with float32 rows, sums and results: ahead of packed float32 where
  the processor has no bfloat16 products (lab/LOG.md has the rates). Which is taken is decided in `precision`.

The packed layouts are operators that torch's compiler and its quantisation use, not part of its public face:
`packed_operators` says which this torch has, and without them every product is torch's linear, with the same results
up to rounding.

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
#: Of an AMX tile: a product of 33 rows there takes as long as one of 48; float32 has no tiles.
_TILE_ROWS, _FLOAT32_ROWS = 16, 4


class FusedLinear(Protocol):
    """A weight that multiplies rows."""

    def __call__(self, x_NI: Tensor) -> Tensor:
        """The product, (N, O)."""
        ...

    def plus(self, x_NI: Tensor, other_NO: Tensor) -> Tensor:
        """The product and `other`."""
        ...


def fused_linear(weight_OI: Tensor, *, num_rows: int) -> FusedLinear:
    """The weight held in the way that is fastest for so many rows on its device; float16 on CPUs takes float32 rows."""
    if weight_OI.device.type != "cpu":
        return _Plain(weight_OI)
    can_pack = weight_OI.dtype in packed_operators()
    if weight_OI.dtype == torch.float16:
        return _Half(weight_OI) if can_pack else _Plain(weight_OI.float())
    if num_rows > 1 and can_pack:
        return _Packed(weight_OI, num_rows)
    return _Streamed(weight_OI) if weight_OI.dtype == torch.bfloat16 and num_rows == 1 else _Plain(weight_OI)


def fused_swiglu(gate_OI: Tensor, up_OI: Tensor, *, num_rows: int) -> Callable[[Tensor], Tensor]:
    """A function of x_NI: swish of its product with the gate, times its product with `up`."""
    gate = fused_linear(gate_OI, num_rows=num_rows)
    if isinstance(gate, _Packed):
        return partial(_Packed(up_OI, num_rows).times_swish, gate=gate)
    both = fused_linear(torch.cat([gate_OI, up_OI]), num_rows=num_rows)

    def swiglu(x_NI: Tensor) -> Tensor:
        gated, product = both(x_NI).chunk(2, dim=-1)
        return F.silu(gated).mul_(product)

    return swiglu


@cache
def packed_operators() -> frozenset[torch.dtype]:
    """The types of weight whose packed products this torch has and this processor can do."""
    return frozenset(dtype for dtype in (torch.float32, torch.bfloat16, torch.float16) if _can_pack(dtype))


def _can_pack(dtype: torch.dtype) -> bool:
    """Tried once on a weight of zeros: oneDNN refuses bfloat16 on processors with AVX2 only, FBGEMM is for x86."""
    weight = torch.zeros(16, 16, dtype=dtype)
    try:
        matrix = _Half(weight) if dtype == torch.float16 else _Packed(weight, 2)
        matrix(torch.zeros(2, 16, dtype=torch.float32 if dtype == torch.float16 else dtype))
    except (AttributeError, RuntimeError, NotImplementedError):
        return False
    return True


class _Plain:
    def __init__(self, weight_OI: Tensor) -> None:
        self._weight = weight_OI.contiguous()

    def __call__(self, x_NI: Tensor) -> Tensor:
        return F.linear(x_NI, self._weight)

    def plus(self, x_NI: Tensor, other_NO: Tensor) -> Tensor:
        return torch.addmm(other_NO, x_NI, self._weight.t())


class _Half:
    """Weights in half precision, everything else in float32."""

    def __init__(self, weight_OI: Tensor) -> None:
        self._weight = torch.ops.quantized.linear_prepack_fp16(weight_OI.float(), None)

    def __call__(self, x_NI: Tensor) -> Tensor:
        return cast(Tensor, torch.ops.quantized.linear_dynamic_fp16(x_NI, self._weight))

    def plus(self, x_NI: Tensor, other_NO: Tensor) -> Tensor:
        return self(x_NI).add_(other_NO)


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
        return self._unary(_padded(x_NI), "none")[: len(x_NI)]

    def plus(self, x_NI: Tensor, other_NO: Tensor) -> Tensor:
        return self._binary(_padded(x_NI), _padded(other_NO), "add")[: len(x_NI)]

    def times_swish(self, x_NI: Tensor, gate: _Packed) -> Tensor:
        padded = _padded(x_NI)
        return self._binary(padded, gate._unary(padded, "swish"), "mul")[: len(x_NI)]

    def _unary(self, x_NI: Tensor, name: str) -> Tensor:
        return cast(Tensor, torch.ops.mkldnn._linear_pointwise(x_NI, self._weight, None, name, [], ""))

    def _binary(self, x_NI: Tensor, other_NO: Tensor, name: str) -> Tensor:
        return cast(Tensor, torch.ops.mkldnn._linear_pointwise.binary(x_NI, other_NO, self._weight, None, name))


def _padded(x_NI: Tensor) -> Tensor:
    """Rows of zeros up to a power of two, beyond an AMX tile up to whole tiles, of float32 up to a multiple of 4.

    oneDNN keeps some 650 KB for each number of rows it has met with each shape of weight: 335 MB for 1 to 128 rows and
    the four shapes of SmolLM2-135M.
    """
    rows, step = len(x_NI), _TILE_ROWS if x_NI.dtype == torch.bfloat16 else _FLOAT32_ROWS
    whole = -(-rows // step) * step if rows > step else 1 << (rows - 1).bit_length()
    return x_NI if rows == whole else F.pad(x_NI, (0, 0, 0, whole - rows))
