"""Resampling documents: the same draws for every run, and random numbers that never change.

A draw takes as many documents as there are, with replacement, and computes every run's loss on them: ratio of summed
negative log-likelihood to summed tokens. All runs see the same draw: differences between runs are paired by document.
Where documents are pieces of longer sources (`groups`), whole sources are drawn, because pieces of one source share its
difficulty.

Random numbers come from `seeding.mix`, counted, so that results do not depend on a library's version.
Shapes: R runs, D documents, U resampled units, B draws.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from megadocs.analysis.tables import FloatArray, IntArray, ScoreBlock
from megadocs.seeding import derive_seed, mix_array

_CHUNK_CELLS = 4_000_000  # counts held at once: 32 MB of float64


def uniforms(seed: int, num: int, start: int = 0) -> FloatArray:
    """`num` numbers in (0, 1), never 0 or 1; element i depends on (seed, start + i) only."""
    counters = np.arange(start, start + num, dtype=np.uint64)
    bits = mix_array(mix_array(counters) ^ np.uint64(seed))
    return ((bits >> np.uint64(11)).astype(np.float64) + 0.5) * 2.0**-53


def unit_index(block: ScoreBlock, groups: Mapping[str, str] | None) -> tuple[IntArray, int]:
    """Which resampled unit each document belongs to: int64 (D,), and U. Without groups every document is its own."""
    if groups is None:
        return np.arange(len(block.document_ids)), len(block.document_ids)
    names = [groups.get(document_id, document_id) for document_id in block.document_ids]
    numbers = {name: number for number, name in enumerate(sorted(set(names)))}
    return np.asarray([numbers[name] for name in names], dtype=np.int64), len(numbers)


def bootstrap_losses(
    block: ScoreBlock, num_draws: int, seed: int, groups: Mapping[str, str] | None = None
) -> FloatArray:
    """Losses in nats per token of every run under every draw of documents; shape (B, R)."""
    units, num_units = unit_index(block, groups)
    tokens = np.bincount(units, weights=block.num_tokens.astype(np.float64), minlength=num_units)
    nll = np.stack([np.bincount(units, weights=row, minlength=num_units) for row in block.sum_nll], axis=1)
    root = derive_seed(seed, "bootstrap", block.set_name)
    losses = np.empty((num_draws, len(block.runs)))
    step = max(1, _CHUNK_CELLS // num_units)
    for first in range(0, num_draws, step):
        num = min(step, num_draws - first)
        drawn = np.floor(uniforms(root, num * num_units, first * num_units) * num_units).astype(np.int64)
        cells = drawn + np.repeat(np.arange(num) * num_units, num_units)
        counts = np.bincount(cells, minlength=num * num_units).reshape(num, num_units).astype(np.float64)
        losses[first : first + num] = (counts @ nll) / np.maximum(counts @ tokens, 1.0)[:, None]
    return losses


def percentile_interval(draws: FloatArray, confidence: float) -> tuple[float, float]:
    """The central interval of the draws; NaN where any draw is NaN."""
    tail = (1.0 - confidence) / 2.0
    low, high = np.quantile(draws, [tail, 1.0 - tail])
    return float(low), float(high)
