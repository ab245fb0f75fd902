"""In which precision a model is decoded fastest on this machine: found by multiplying, not by processor flags.

    choice = fastest_precision(config, num_rows=64)
    choice.dtype                  # torch.float32
    str(choice)                   # `float32 (products of 64 rows a second and layer: float32 419, bfloat16 281)`

Flags mislead: a Xeon with AVX-512 bfloat16 but without AMX multiplies 64 rows of SmolLM2-135M's weights at 406 tokens
a second in packed float32, 365 with half-precision weights and 272 in bfloat16; an EPYC with AVX2 alone at 252, 318 and
not at all; with AMX bfloat16 is several times faster. The measurement takes half a second. Among formats within a
tenth of the fastest the most exact one is taken. int8 is no candidate: with rows quantised to 8 bits it would be 2.6
times as fast on that Xeon, but another model (KL to float32 .040 nats a token, 88 % the same likeliest token; bfloat16
.001 and 97 %).
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass

import torch

from megadocs.machine import has_fast_bfloat16
from megadocs.model.config import LlamaConfig
from megadocs.model.fused_linear import fused_swiglu, packed_operators

#: From the most exact to the least; see `decoder` for what each means.
PRECISIONS: Mapping[str, torch.dtype] = {
    "float32": torch.float32,
    "float16": torch.float16,
    "bfloat16": torch.bfloat16,
}
#: A less exact format has to be faster by this factor.
_WORTH_IT = 1.1
_ROUNDS = 5
#: Weights that are multiplied in turn, as a step does, so that none waits in a core's own cache (2 MB and less).
_WEIGHT_BYTES = 32 << 20


@dataclass(frozen=True, slots=True)
class Choice:
    """The precision and what it was chosen by."""

    dtype: torch.dtype  # as `Decoder` takes it
    #: precision -> feed-forward products a second, each of `num_rows` rows; empty: nothing was measured.
    rates: Mapping[str, float]
    num_rows: int  # sequences in a step

    @property
    def name(self) -> str:
        """`float32`, `float16` or `bfloat16`."""
        return str(self.dtype).removeprefix("torch.")

    def __str__(self) -> str:
        if not self.rates:
            return self.name
        measured = ", ".join(f"{name} {rate:.0f}" for name, rate in self.rates.items())
        return f"{self.name} (products of {self.num_rows} rows a second and layer: {measured})"


def fastest_precision(config: LlamaConfig, *, num_rows: int, on_gpu: bool = False) -> Choice:
    """The fastest one for steps of so many sequences; bfloat16 on a GPU, unmeasured.

    Args:
        num_rows: sequences that take steps together.
    """
    if on_gpu:
        return Choice(torch.bfloat16, {}, num_rows)
    rates = {name: _rate(config, dtype, num_rows) for name, dtype in PRECISIONS.items() if _is_candidate(dtype)}
    best = "float32"
    for name, rate in rates.items():
        if rate > _WORTH_IT * rates[best]:
            best = name
    return Choice(PRECISIONS[best], rates, num_rows)


def _is_candidate(dtype: torch.dtype) -> bool:
    """Half-precision weights want their packed products, bfloat16 a processor that does not emulate it."""
    if dtype == torch.float16:
        return dtype in packed_operators()
    return dtype == torch.float32 or has_fast_bfloat16("cpu")


@torch.inference_mode()
def _rate(config: LlamaConfig, dtype: torch.dtype, num_rows: int) -> float:
    """Gate and up products of a layer a second of processor time, the best of some rounds."""
    shape = (config.intermediate_size, config.hidden_size)
    copies = max(1, _WEIGHT_BYTES // (2 * dtype.itemsize * shape[0] * shape[1]))
    generator = torch.Generator().manual_seed(0)
    gate, up = (torch.randn(shape, generator=generator).mul_(shape[1] ** -0.5).to(dtype) for _ in range(2))
    layers = [fused_swiglu(gate, up, num_rows=num_rows) for _ in range(copies)]
    rows = torch.randn(num_rows, shape[1], generator=generator)
    rows = rows if dtype == torch.float16 else rows.to(dtype)
    seconds = []
    for _ in range(_ROUNDS + 1):  # the first one warms up
        began = time.process_time()
        for layer in layers:
            layer(rows)
        seconds.append(time.process_time() - began)
    return copies / max(min(seconds[1:]), 1e-9)
