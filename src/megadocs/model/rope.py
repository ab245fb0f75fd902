"""Rotary position embedding: frequencies with the Llama family's variants, and the rotation itself.

`rope_tables(config, length)` gives cosines and sines (T, head_dim) in Hugging Face's layout (the two halves of a head
rotate together), computed in float32 as there. Variants: none, `linear` (positions divided by a factor), `llama3`
(long wavelengths divided by a factor, a smooth ramp between; Llama 3.1 and later) and `divided` (a factor for each
frequency, as GGUF files write llama3's). Any other variant is refused by name.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from megadocs.errors import InputError
from megadocs.model.config import LlamaConfig

#: The variants that `rope_tables` knows.
ROPE_TYPES = ("default", "linear", "llama3")


def rope_tables(config: LlamaConfig, length: int) -> tuple[Tensor, Tensor]:
    """Cosine and sine tables, float32, (length, head_dim), for positions 0..length-1."""
    exponents = torch.arange(0, config.head_dim, 2, dtype=torch.int64).float() / config.head_dim
    frequencies = _scaled(1.0 / (config.rope_theta**exponents), config.rope_scaling)
    angles = torch.outer(torch.arange(length, dtype=torch.float32), frequencies)
    angles = torch.cat([angles, angles], dim=-1)
    return angles.cos(), angles.sin()


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """x (..., T, head_dim) rotated by its position; cos and sin broadcast against it, in x's dtype."""
    half = x.shape[-1] // 2
    swapped = torch.cat([-x[..., half:], x[..., :half]], dim=-1)
    return x * cos + swapped * sin


def _scaled(frequencies: Tensor, scaling: dict[str, Any] | None) -> Tensor:
    kind = (scaling or {}).get("rope_type", "default")
    if scaling is None or kind == "default":
        return frequencies
    if kind == "linear":
        return frequencies / float(scaling["factor"])
    if kind == "llama3":
        return _llama3(frequencies, scaling)
    if kind == "divided":
        return frequencies / torch.tensor(scaling["factors"], dtype=torch.float32)
    raise InputError(
        f"RoPE variant {kind!r} is not supported",
        where="config.json: rope_scaling",
        remedy="use a model with plain, linear or llama3 rotary embeddings",
    )


def _llama3(frequencies: Tensor, scaling: dict[str, Any]) -> Tensor:
    factor, low, high = (float(scaling[key]) for key in ("factor", "low_freq_factor", "high_freq_factor"))
    original = float(scaling["original_max_position_embeddings"])
    wavelengths = 2 * math.pi / frequencies
    ramp = ((original / wavelengths - low) / (high - low)).clamp(0, 1)  # 0: long waves, 1: short ones
    blended = (1 - ramp) * frequencies / factor + ramp * frequencies
    long_waves = wavelengths > original / low
    short_waves = wavelengths < original / high
    return torch.where(long_waves, frequencies / factor, torch.where(short_waves, frequencies, blended))
