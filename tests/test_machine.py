"""Which compute type `auto` stands for."""

from __future__ import annotations

import pytest

from megadocs import machine
from megadocs.machine import has_fast_bfloat16, resolve_dtype


@pytest.mark.parametrize(
    ("flags", "dtype"),
    [
        ({"avx2", "avx512f"}, "float32"),
        ({"avx512f", "avx512_bf16"}, "bfloat16"),
        ({"avx512f", "amx_bf16"}, "bfloat16"),
        ({"asimd", "bf16"}, "bfloat16"),
        (set(), "float32"),
    ],
)
def test_auto_is_what_the_processor_multiplies_natively(
    monkeypatch: pytest.MonkeyPatch, flags: set[str], dtype: str
) -> None:
    monkeypatch.setattr(machine, "_cpu_flags", lambda: frozenset(flags))
    monkeypatch.setattr(machine, "_has_cuda", lambda: False)
    assert resolve_dtype("auto", "cpu") == resolve_dtype("auto", "auto") == dtype


def test_a_gpu_multiplies_bfloat16(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "_cpu_flags", frozenset)
    monkeypatch.setattr(machine, "_has_cuda", lambda: True)
    assert has_fast_bfloat16("auto")
    assert has_fast_bfloat16("cuda")
    assert not has_fast_bfloat16("cpu")


def test_what_is_asked_for_stays() -> None:
    assert [resolve_dtype(dtype) for dtype in ("bfloat16", "float32")] == ["bfloat16", "float32"]
