"""All ways of holding a weight against torch's linear: one row, several, widths that do not split, additions, gates."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from megadocs.model import fused_linear as module
from megadocs.model.fused_linear import _padded, fused_linear, fused_swiglu


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("num_rows", [1, 16])
@pytest.mark.parametrize("size", [96, 384, 509, 1152])
@pytest.mark.parametrize("rows", [1, 5])
def test_products_are_linear_ones(packed, dtype, num_rows, size, rows, monkeypatch):
    if not packed:  # a torch without these operators
        monkeypatch.setattr(module, "packed_operators", frozenset)
    row_dtype = torch.float32 if dtype == torch.float16 else dtype
    generator = torch.Generator().manual_seed(0)
    weight, up = (torch.randn(size, 64, generator=generator).div(8).to(dtype) for _ in range(2))
    x, other = (torch.randn(rows, width, generator=generator).to(row_dtype) for width in (64, size))
    with torch.inference_mode():
        matrix = fused_linear(weight, num_rows=num_rows)
        got = [matrix(x), matrix.plus(x, other), fused_swiglu(weight, up, num_rows=num_rows)(x)]
    product = F.linear(x.float(), weight.float())
    expected = [product, product + other.float(), F.silu(product) * F.linear(x.float(), up.float())]
    tolerance = 0.02 if dtype == torch.bfloat16 else 1e-5
    for one, its in zip(got, expected, strict=True):
        assert one.dtype == row_dtype
        torch.testing.assert_close(one.float(), its, rtol=tolerance, atol=tolerance)


def test_this_torch_has_the_packed_operators():
    """What the speed rests on; where they are gone, fused_linear falls back and this says so."""
    assert torch.float32 in module.packed_operators()


def test_private_packed_products_stand_in_one_file():
    """oneDNN's and FBGEMM's packed weights; the rest of the package knows `fused_linear` only."""
    source = Path(module.__file__).parents[1]
    names = ("torch.ops.mkldnn", "torch.ops.quantized")
    texts = {path.name: path.read_text(encoding="utf-8") for path in source.rglob("*.py")}
    assert [file for file, text in texts.items() if any(name in text for name in names)] == ["fused_linear.py"]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_few_numbers_of_rows_reach_the_packed_product(dtype):
    """oneDNN keeps 650 KB for each number of rows and shape of weight it has met."""
    sizes = {len(_padded(torch.zeros(rows, 8, dtype=dtype))) for rows in range(1, 129)}
    assert len(sizes) <= (12 if dtype == torch.bfloat16 else 34)
    assert all(len(_padded(torch.zeros(rows, 8, dtype=dtype))) - rows < 16 for rows in range(1, 129))
    assert {1, 2, 4, 48, 64, 128} <= sizes
