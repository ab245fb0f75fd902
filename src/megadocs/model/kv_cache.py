"""Keys and values of all positions so far, laid out for one new query a sequence on a CPU.

    cache = KeyValueCache(config, num_sequences=16, length=256, dtype=torch.bfloat16, device=device)
    step = cache.advance(1, bias)                       # room for one more position of every sequence
    out_NE = cache.attend(step, layer, qkv_BTHW)        # writes this layer's keys and values, attends to all

At batch 16 and more a step's time is the cache's way from memory, and what torch offers for one query's attention does
not stream it: batched products and the fused kernel reach 6-14 GB/s where a sum over the same memory reaches 37, and
want float32 besides (in bfloat16 they take 2-4 times as long). `embedding_bag` does stream: a weighted sum of rows, one
running vector product, prefetched, bfloat16 rows summed in float32. Values are such rows: one a position, weighted by
the probabilities. Keys are stored transposed, in chunks of 64 positions: a row is one coordinate of 64 keys, weighted by
that coordinate of the query, so that the sum of a chunk's rows is 64 scores. For 64 sequences of 6 heads and 144
positions both take 0.8 ms, against 2.5 ms for float32 products (one thread, AMD Zen 5).

Several new positions at once (prompts), and devices other than CPUs, take plain batched products; there one chunk holds
all positions, and nothing is copied.

Suffixes: B sequences, T new positions, N = B * T, S positions so far, C positions a chunk, H query heads, G key and value
heads, R = H / G, W head width, E = H * W.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from megadocs.model.config import LlamaConfig

#: Positions a chunk: rows of two cache lines in bfloat16. 32 take 1.0-1.4 times as long; half a chunk is read in vain.
_CHUNK = 64


class Step(NamedTuple):
    """What attending to positions 0..stop-1 needs besides queries, the same for every layer."""

    start: int
    stop: int
    bias: Tensor | None
    value_rows: Tensor | None
    value_bags: Tensor | None


class KeyValueCache:
    """A fixed number of positions for every layer and sequence."""

    def __init__(
        self, config: LlamaConfig, *, num_sequences: int, length: int, dtype: torch.dtype, device: torch.device
    ) -> None:
        self.used = 0
        self._heads, self._groups = config.num_attention_heads, config.num_key_value_heads
        self._width = config.head_dim
        self._streams = device.type == "cpu"
        self._chunk = _CHUNK if self._streams else length
        self._num_chunks = -(-length // self._chunk)
        shape = (config.num_hidden_layers, 2, num_sequences, self._groups, self._num_chunks * self._chunk * self._width)
        self._hold(torch.empty(shape, dtype=dtype, device=device))

    def keep(self, indices: Tensor) -> None:
        """Go on with these sequences only, int64 indices into the present ones."""
        self._hold(self._memory[:, :, indices])

    def advance(self, length: int, bias: Tensor | None) -> Step:
        """Make room for `length` new positions; `bias` is added to their scores, (B or 1, 1, T, S)."""
        start, self.used = self.used, self.used + length
        if length > 1 or not self._streams:
            return Step(start, self.used, bias, None, None)
        if start // self._chunk + 1 != self._queries.shape[2]:
            self._index_keys(start // self._chunk + 1)
        rows = (self._first_value[:, None] + torch.arange(self.used, dtype=torch.int32)).view(-1)
        bags = torch.arange(0, rows.shape[0], self.used, dtype=torch.int32)
        return Step(start, self.used, bias, rows, bags)

    def attend(self, step: Step, layer: int, qkv_BTHW: Tensor) -> Tensor:
        """What the new positions take from all so far, (N, E), in the cache's dtype; writes their keys and values.

        Args:
            qkv_BTHW: query, key and value heads one after another, rotated, the scores' scale in the queries.
        """
        q, k, v = qkv_BTHW.split([self._heads, self._groups, self._groups], dim=2)
        for start in range(step.start // self._chunk * self._chunk, step.stop, self._chunk):
            first, last = max(step.start, start), min(step.stop, start + self._chunk)
            new = k[:, first - step.start : last - step.start].permute(0, 2, 3, 1)
            self._keys[layer][:, :, start // self._chunk, :, first - start : last - start].copy_(new)
        self._values[layer][:, :, step.start : step.stop].copy_(v.transpose(1, 2))
        return self._attend_densely(step, layer, q) if step.value_rows is None else self._stream(step, layer, q)

    def _stream(self, step: Step, layer: int, q_B1HW: Tensor) -> Tensor:
        batch = q_B1HW.shape[0]
        self._queries.copy_(q_B1HW.transpose(1, 2))  # once for every chunk
        scores = _sum_rows(self._key_rows[layer], self._key_index, self._key_bags, self._queries.view(-1))
        scores = scores.view(batch * self._heads, -1)[:, : step.stop]
        if step.bias is not None:
            scores = (scores.view(batch, self._heads, -1) + step.bias[:, 0]).flatten(0, 1)
        weights = torch.softmax(scores, dim=-1).view(-1)
        return _sum_rows(self._value_rows[layer], step.value_rows, step.value_bags, weights).view(batch, -1)

    def _attend_densely(self, step: Step, layer: int, q_BTHW: Tensor) -> Tensor:
        batch, length = q_BTHW.shape[:2]
        # Query heads of a group are further queries of its keys and values: no copy of them.
        q = q_BTHW.to(self._memory.dtype).transpose(1, 2).reshape(batch, self._groups, -1, self._width)
        keys = self._keys[layer].transpose(2, 3).flatten(3)[..., : step.stop]
        scores = (q @ keys).view(batch, self._heads, length, step.stop)
        if step.bias is not None:
            scores = scores + step.bias
        weights = torch.softmax(scores, dim=-1).view(batch, self._groups, -1, step.stop)
        out = (weights @ self._values[layer][:, :, : step.stop]).view(batch, self._heads, length, self._width)
        return out.transpose(1, 2).reshape(batch * length, -1)

    def _hold(self, memory: Tensor) -> None:
        """Take this memory, (layers, 2, B, G, positions * W), for the cache."""
        self._memory = memory
        keys, values = memory.unbind(1)
        self._keys = keys.unflatten(-1, (self._num_chunks, self._width, self._chunk)).unbind()
        self._values = values.unflatten(-1, (-1, self._width)).unbind()
        self._key_rows = keys.reshape(len(self._keys), -1, self._chunk).unbind()
        self._value_rows = values.reshape(len(self._keys), -1, self._width).unbind()
        if self._streams:
            self._index_keys(max(1, -(-self.used // self._chunk)))

    def _index_keys(self, num_chunks: int) -> None:
        """Which rows a sequence and head sums up: those of its chunks for its scores, one a position afterwards."""
        batch, width = self._memory.shape[2], self._width
        groups = torch.arange(batch * self._groups, dtype=torch.int32).repeat_interleave(self._heads // self._groups)
        self._first_value = groups * (self._num_chunks * self._chunk)
        chunks = groups[:, None] * self._num_chunks + torch.arange(num_chunks, dtype=torch.int32)
        self._key_index = (chunks.unsqueeze(-1) * width + torch.arange(width, dtype=torch.int32)).view(-1)
        self._key_bags = torch.arange(0, self._key_index.shape[0], width, dtype=torch.int32)
        self._queries = self._memory.new_empty((batch, self._heads, num_chunks, width))


def _sum_rows(rows: Tensor, index: Tensor, bags: Tensor, weights: Tensor) -> Tensor:
    """rows[index] times weights, summed from each of `bags` to the next."""
    return torch.embedding_bag(rows, index, bags, False, 0, False, weights)[0]
