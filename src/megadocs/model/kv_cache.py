"""Keys and values of all positions so far, laid out for one new query a sequence on a CPU.

    cache = KeyValueCache(config, num_sequences=16, length=256, dtype=torch.bfloat16, device=device)
    step = cache.advance(1, bias)                       # room for one more position of every sequence
    out_NE = cache.attend(step, layer, qkv_BTHW)        # writes this layer's keys and values, attends to all

At batch 16 and more a step's time is the cache's way from memory, and what torch offers for one query's attention does
not stream it: batched products and the fused kernel reach 5-14 GB/s where a sum over the same memory reaches 37, and
want float32 besides (in bfloat16 the scores take twice as long). `embedding_bag` does stream: a weighted sum of rows,
one running vector product, prefetched, bfloat16 rows summed in float32. Values are such rows: one a position, weighted
by the probabilities. Keys are stored transposed, in chunks of 64 positions: a row is one coordinate of 64 keys,
weighted by that coordinate of the query, so that the sum of a chunk's rows is 64 scores. For 64 sequences of 6 heads
and 144 positions both take 0.56 ms, writing included, against 2.4 ms for float32 products (one thread, AMD Zen 5).

Several new positions at once (prompts), and devices other than CPUs, take plain batched products; there one chunk holds
all positions, and nothing is copied.

Suffixes: B sequences, T new positions, N = B * T, S positions so far, C positions a chunk, H query heads, G key and
value heads, R = H / G, W head width, E = H * W.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from megadocs.model.config import LlamaConfig

#: Positions a chunk: rows of two cache lines in bfloat16. 32 take 1.0-1.4 times as long; half a chunk is read in vain.
_CHUNK = 64


class Step(NamedTuple):
    """Where the new positions go in every layer, and how the layers' queries find all so far.

    A key slot is one chunk's part of the new positions: the layers' places, and which of the new positions go there.
    Without `value_bags` (rows and where each bag starts) the products are plain ones.
    """

    stop: int
    bias: Tensor | None
    key_slots: Sequence[tuple[Sequence[Tensor], int, int]]
    value_slots: Sequence[Tensor]
    value_bags: tuple[Tensor, Tensor] | None


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
        start, stop = self.used, self.used + length
        self.used = stop
        key_slots = []
        for chunk in range(start // self._chunk, (stop - 1) // self._chunk + 1):
            offset = chunk * self._chunk
            first, last = max(start, offset), min(stop, offset + self._chunk)
            places = self._keys[:, :, :, chunk, :, first - offset : last - offset].unbind()
            key_slots.append((places, first - start, last - start))
        value_slots = self._values[:, :, :, start:stop].unbind()
        if length > 1 or not self._streams:
            return Step(stop, bias, key_slots, value_slots, None)
        if chunk + 1 != self._queries.shape[2]:
            self._index_keys(chunk + 1)
        rows = (self._first_value[:, None] + torch.arange(stop, dtype=torch.int32)).view(-1)
        bags = torch.arange(0, rows.shape[0], stop, dtype=torch.int32)
        return Step(stop, bias, key_slots, value_slots, (rows, bags))

    def attend(self, step: Step, layer: int, qkv_BTHW: Tensor) -> Tensor:
        """What the new positions take from all so far, (N, E), in the cache's dtype; writes their keys and values.

        Args:
            qkv_BTHW: query, key and value heads one after another, rotated, the scores' scale in the queries.
        """
        q, k, v = torch.split(qkv_BTHW, [self._heads, self._groups, self._groups], dim=2)
        new_keys = k.permute(0, 2, 3, 1)
        for places, first, last in step.key_slots:
            places[layer].copy_(new_keys if len(step.key_slots) == 1 else new_keys[..., first:last])
        step.value_slots[layer].copy_(v.transpose(1, 2))
        if step.value_bags is None:
            return self._attend_densely(step, layer, q)
        return self._stream(step, layer, q, *step.value_bags)

    def _stream(self, step: Step, layer: int, q_B1HW: Tensor, value_rows: Tensor, value_bags: Tensor) -> Tensor:
        batch = q_B1HW.shape[0]
        self._queries.copy_(q_B1HW.transpose(1, 2))  # once for every chunk
        scores = _sum_rows(self._key_rows[layer], self._key_index, self._key_bags, self._queries.view(-1))
        scores = scores.view(batch * self._heads, -1)[:, : step.stop]
        if step.bias is not None:
            scores = (scores.view(batch, self._heads, -1) + step.bias[:, 0]).flatten(0, 1)
        weights = torch.softmax(scores, dim=-1).view(-1)
        return _sum_rows(self._value_rows[layer], value_rows, value_bags, weights).view(batch, -1)

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
        rows: Tensor = out.transpose(1, 2).reshape(batch * length, -1)
        return rows

    def _hold(self, memory: Tensor) -> None:
        """Take this memory, (layers, 2, B, G, positions * W), for the cache."""
        self._memory = memory
        keys, values = memory.unbind(1)
        self._keys = keys.view(*keys.shape[:-1], self._num_chunks, self._width, self._chunk)
        self._values = values.view(*values.shape[:-1], -1, self._width)
        self._key_rows = self._keys.flatten(1, -2).unbind()
        self._value_rows = self._values.flatten(1, -2).unbind()
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
