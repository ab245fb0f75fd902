"""Keys and values in pages of 64 positions: sequences of any length side by side, prompts that many of them share.

    cache = PagedCache(config, num_pages=200, dtype=torch.float16, device=device)
    cache.write(layer, k_NGW, v_NGW, pages_N, offsets_N)         # one new position for each of N rows
    out_BE = cache.attend(layer, q_BHW, index)                    # one query a sequence, over its pages
    out_TE = cache.attend_prompt(layer, q_THW, pages, start)      # a chunk of one prompt, causal

A page is a place for 64 positions of every layer; who owns which page is the business of `page_table`. Two sequences
with the same prompt name the same pages, so a prompt costs its memory and its reading once.

On a CPU one query a sequence is bound by memory, and what torch offers for it does not stream: batched products and the
fused kernel reach 5-14 GB/s where a sum over the same memory reaches 37. `embedding_bag` does stream: a weighted sum of
rows, one running vector product, prefetched, half-precision rows summed in float32, and its row index is a page table.
Values are such rows: one a position, weighted by the probabilities. Keys are stored transposed inside a page: a row is
one coordinate of 64 keys, weighted by that coordinate of the query, so that the sum of a page's rows is 64 scores.
32 sequences of 9 heads and 384 positions, one layer, one thread of an AVX2 EPYC: float32 1.65 ms, 1.01 with prompts of
256 positions shared by eight (they stay in the second-level cache), float16 0.96 and 0.92, bfloat16 1.23 and 1.04.

Suffixes: L layers, P pages, B sequences, T positions of a chunk, N rows, S positions so far, H query heads, G key and
value heads, R = H / G, W head width, E = H * W, C = 64 positions a page.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from megadocs.model.config import LlamaConfig

#: Positions a page: rows of two cache lines in half precision. 32 take 1.0-1.4 times as long.
PAGE_POSITIONS = 64


_Integers = np.ndarray[Any, np.dtype[Any]]


class PageIndex(NamedTuple):
    """Which rows of the cache a batch sums up; holds until a sequence joins, leaves or takes another page.

    A bag is one sum of rows. Key bags stand for (sequence, head, page) in a rectangle of `num_pages` a sequence, those
    of pages that a sequence does not have being empty; value bags for (sequence, head).
    """

    tables_BP: Tensor  # the pages themselves, int64, missing ones 0
    num_pages: int  # of the sequence that has most
    bag_queries: Tensor  # which query (of B * H) each key bag that is not empty takes, int64
    #: `key_rows`, `key_bags`, `value_rows`, `value_bags`: int32 rows and where each bag begins.
    key_rows: Tensor
    key_bags: Tensor
    value_rows: Tensor
    value_bags: Tensor
    #: which pages of scores are the weights of `value_rows`, int64; None: they are all of them.
    weight_pages: Tensor | None


class PagedCache:
    """Memory for a fixed number of pages.

    Args:
        num_pages: page 0 included, which no sequence owns.
        dtype: of what is stored; products over it are summed in float32.
        device: CPU: pages are streamed; others gather them.
    """

    def __init__(self, config: LlamaConfig, *, num_pages: int, dtype: torch.dtype, device: torch.device) -> None:
        self.num_pages, self.dtype, self.device = num_pages, dtype, device
        self._heads, self._groups, self._width = (
            config.num_attention_heads,
            config.num_key_value_heads,
            config.head_dim,
        )
        size = PAGE_POSITIONS * self._width
        # Zeros, not `empty`: a page's rows beyond its last position are summed with weight 0, and 0 x NaN is NaN.
        memory = torch.zeros((config.num_hidden_layers, 2, num_pages, self._groups, size), dtype=dtype, device=device)
        self._memory = memory
        self._keys = (
            memory[:, 0].view(*memory[:, 0].shape[:-1], self._width, PAGE_POSITIONS).unbind()
        )  # each (P, G, W, C)
        self._values = (
            memory[:, 1].view(*memory[:, 1].shape[:-1], PAGE_POSITIONS, self._width).unbind()
        )  # each (P, G, C, W)
        self._key_rows = [keys.flatten(0, 2) for keys in self._keys]
        self._value_rows = [values.flatten(0, 2) for values in self._values]

    @staticmethod
    def page_bytes(config: LlamaConfig, dtype: torch.dtype) -> int:
        """Memory of one page."""
        elements = config.num_hidden_layers * 2 * config.num_key_value_heads * config.head_dim * PAGE_POSITIONS
        return elements * dtype.itemsize

    def copy_page(self, source: int, target: int) -> None:
        """All layers of a page, for a sequence that goes on where a shared page is half full."""
        self._memory[:, :, target].copy_(self._memory[:, :, source])

    def write(self, layer: int, k_NGW: Tensor, v_NGW: Tensor, pages_N: Tensor, offsets_N: Tensor) -> None:
        """Store one position a row: int64 pages and offsets inside them."""
        # Advanced indices on both sides of slices put the rows first: the target is (N, G, W).
        self._keys[layer][pages_N, :, :, offsets_N] = k_NGW.to(self.dtype)
        self._values[layer][pages_N, :, offsets_N] = v_NGW.to(self.dtype)

    def index(self, tables: Sequence[Sequence[int]]) -> PageIndex:
        """The rows of these sequences' pages, in their order."""
        counts_B = np.array([len(table) for table in tables])
        most, batch = int(counts_B.max()), len(tables)
        tables_BP = np.zeros((batch, most), dtype=np.int64)
        for line, table in enumerate(tables):
            tables_BP[line, : len(table)] = table
        is_there_BHP = np.broadcast_to(np.arange(most) < counts_B[:, None, None], (batch, self._heads, most))
        group_H = np.arange(self._heads) // (self._heads // self._groups)
        blocks = (tables_BP[:, None, :] * self._groups + group_H[None, :, None])[
            is_there_BHP
        ]  # (bags that are not empty)
        bag_queries = np.broadcast_to(np.arange(batch * self._heads).reshape(batch, -1, 1), is_there_BHP.shape)
        sizes = is_there_BHP.reshape(-1).astype(np.int64)
        value_sizes = np.repeat(counts_B, self._heads) * PAGE_POSITIONS
        is_rectangle = int(counts_B.min()) == most
        return PageIndex(
            tables_BP=self._tensor(tables_BP),
            num_pages=most,
            bag_queries=self._tensor(bag_queries[is_there_BHP]),
            key_rows=self._tensor(_rows(blocks, self._width).astype(np.int32)),
            key_bags=self._tensor(_starts(sizes * self._width)),
            value_rows=self._tensor(_rows(blocks, PAGE_POSITIONS).astype(np.int32)),
            value_bags=self._tensor(_starts(value_sizes)),
            weight_pages=None if is_rectangle else self._tensor(np.flatnonzero(is_there_BHP)),
        )

    def attend(self, layer: int, q_BHW: Tensor, index: PageIndex, bias_BS: Tensor) -> Tensor:
        """What each sequence's query takes from its pages, (B, E), in the cache's dtype.

        Args:
            q_BHW: rotated, the scores' scale in it.
            index: of the sequences' pages.
            bias_BS: 0 at positions that exist, -inf elsewhere; S = `index.num_pages` * 64.
        """
        if self.device.type != "cpu":
            return self._attend_gathered(layer, q_BHW, index, bias_BS)
        batch = q_BHW.shape[0]
        # `index_select` of whole rows: advanced indexing of the weights one by one was a tenth of this function.
        queries = q_BHW.to(self.dtype).reshape(batch * self._heads, -1).index_select(0, index.bag_queries)
        scores = _sum_rows(self._key_rows[layer], index.key_rows, index.key_bags, queries.view(-1))
        scores_BHS = scores.view(batch, self._heads, -1).add_(bias_BS.unsqueeze(1))
        weights = torch.softmax(scores_BHS, dim=-1).view(-1, PAGE_POSITIONS)
        if index.weight_pages is not None:
            weights = weights.index_select(0, index.weight_pages)
        return _sum_rows(self._value_rows[layer], index.value_rows, index.value_bags, weights.view(-1)).view(batch, -1)

    def attend_prompt(self, layer: int, q_THW: Tensor, pages: Tensor, start: int) -> Tensor:
        """What a chunk's queries take from their prompt so far and from themselves, (T, E), in the queries' dtype.

        Args:
            q_THW: rotated and scaled, for positions `start` and on; their keys and values are written already.
            pages: of the prompt, int64, up to the chunk's last position.
            start: position of the first query.
        """
        length, dtype = q_THW.shape[0], q_THW.dtype
        stop = start + length
        keys_GWS = self._keys[layer][pages].to(dtype).permute(1, 2, 0, 3).flatten(2)[..., :stop]
        values_GSW = self._values[layer][pages].to(dtype).transpose(0, 1).flatten(1, 2)[:, :stop]
        # Query heads of a group are more queries of its keys and values: no copy of them.
        queries = q_THW.transpose(0, 1).reshape(self._groups, -1, self._width)
        scores = (queries @ keys_GWS).view(self._heads, length, stop)
        if length > 1:
            rows_T1 = torch.arange(start, stop, device=self.device)[:, None]
            scores = scores.masked_fill_(torch.arange(stop, device=self.device)[None] > rows_T1, -torch.inf)
        weights = torch.softmax(scores, dim=-1).view(self._groups, -1, stop)
        out: Tensor = (weights @ values_GSW).view(self._heads, length, -1).transpose(0, 1).reshape(length, -1)
        return out

    def _attend_gathered(self, layer: int, q_BHW: Tensor, index: PageIndex, bias_BS: Tensor) -> Tensor:
        batch = q_BHW.shape[0]
        keys_BGWS = self._keys[layer][index.tables_BP].permute(0, 2, 3, 1, 4).flatten(3)
        values_BGSW = self._values[layer][index.tables_BP].transpose(1, 2).flatten(2, 3)
        queries = q_BHW.to(self.dtype).view(batch, self._groups, -1, self._width)
        scores = (queries @ keys_BGWS) + bias_BS[:, None, None]
        out: Tensor = (torch.softmax(scores, dim=-1) @ values_BGSW).reshape(batch, -1)
        return out

    def _tensor(self, array: _Integers) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(array)).to(self.device)


def _rows(blocks: _Integers, size: int) -> _Integers:
    """The rows of blocks of `size` rows each, one after another."""
    rows: _Integers = blocks[:, None] * size + np.arange(size)
    return rows.reshape(-1)


def _starts(sizes: _Integers) -> _Integers:
    """Where bags of these sizes begin, int32."""
    starts: _Integers = np.cumsum(sizes) - sizes
    return starts.astype(np.int32)


def _sum_rows(rows: Tensor, index: Tensor, bags: Tensor, weights: Tensor) -> Tensor:
    """rows[index] times weights, summed from each of `bags` to the next; an empty bag is 0."""
    return torch.embedding_bag(rows, index, bags, False, 0, False, weights)[0]
