"""What this machine's processors are good at, found without importing torch.

    has_fast_bfloat16("auto")    # True: multiply in bfloat16; False: float32 is faster

A processor without bfloat16 instructions emulates them: on an EPYC with AVX2 alone one core multiplied 10 GFLOP/s in
bfloat16 and 90 in float32, and a 0.3M-parameter student trained at 2.3k tokens a processor second instead of 22.7k.
With AMX or AVX-512 bfloat16 it is the other way round, by a factor of three to four.
"""

from __future__ import annotations

import os
import sys
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Literal

#: Processor flags of bfloat16 products that torch's CPU kernels use (x86; `bf16` on ARM).
_BFLOAT16_FLAGS = {"amx_bf16", "avx512_bf16", "bf16"}


def has_fast_bfloat16(device: Literal["auto", "cpu", "cuda"] = "auto") -> bool:
    """Whether the device multiplies bfloat16 natively; `auto` is CUDA where there is a GPU, else the CPU."""
    if device == "cuda" or (device == "auto" and _has_cuda()):
        return True
    return bool(_cpu_flags() & _BFLOAT16_FLAGS)


def resolve_dtype(dtype: str, device: Literal["auto", "cpu", "cuda"] = "auto") -> str:
    """`bfloat16` or `float32`: what was asked for, or what `auto` stands for on this machine."""
    if dtype != "auto":
        return dtype
    return "bfloat16" if has_fast_bfloat16(device) else "float32"


def _has_cuda() -> bool:
    """Whether torch will find an NVIDIA GPU: the driver is loaded, a GPU is visible, and torch is built for it."""
    if os.environ.get("CUDA_VISIBLE_DEVICES", "0") in ("", "-1") or not Path("/proc/driver/nvidia/version").exists():
        return False
    try:
        return "+cpu" not in version("torch")
    except PackageNotFoundError:
        return False


@cache
def _cpu_flags() -> frozenset[str]:
    """Instruction-set flags of the first processor; none where the system does not list them (macOS, Windows)."""
    if not sys.platform.startswith("linux"):
        return frozenset()
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return frozenset()
    fields = (line.partition(":") for line in lines)
    return frozenset(next((text.split() for name, _, text in fields if name.strip() in ("flags", "Features")), []))
