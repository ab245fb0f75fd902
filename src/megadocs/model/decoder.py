"""Passes over a paged key-value cache, as a flat run of few, large operations.

    decoder = Decoder(model, num_sequences=32, num_pages=200)
    logits_KV = decoder.read(tokens_T, pages, start=0)            # a chunk of one prompt
    batch = decoder.batch(tables, lengths)                        # sequences that go on together
    logits_BV = decoder.step(tokens_B, batch)                     # one new token each, as long as no page is full

What a step costs at these sizes is the number of operations, the memory traffic of the weights, and that of the
cache. Hence: query, key and value are one product; norms' weights and the score's scale are folded into the products
behind them, and a norm's division by the row's length is the conversion that follows or precedes a product; pairs that
rotate together stand side by side, so that a rotation is one complex product; residuals are added by the product
itself. How a weight is held is told in `fused_linear`, the cache in `paged_cache`.

Three precisions. float32: all of it. bfloat16: weights, activations and cache (processors with AMX or AVX-512 bfloat16,
GPUs). float16 on a CPU: weights and cache are *stored* so, activations are float32 and every product is summed in
float32: half the memory traffic of float32 where the processor has no bfloat16 products. Rotation and norms are
float32 always.

Suffixes: B sequences, T positions of a chunk, N rows of either, S positions, K rows with logits, H query heads, G key
and value heads, W head width, D hidden, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from megadocs.model.fused_linear import FusedLinear, fused_linear, fused_swiglu
from megadocs.model.llama import Layer, Llama
from megadocs.model.paged_cache import PAGE_POSITIONS, PagedCache, PageIndex

#: Up to this many weights and sequences float32 products beat bfloat16 ones on a CPU (5 against 15 us each).
_FLOAT32_WEIGHTS = 4_000_000
_FLOAT32_SEQUENCES = 8


class _Weights(NamedTuple):
    """One layer, norms and scale folded in."""

    qkv: FusedLinear
    out: FusedLinear
    swiglu: Callable[[Tensor], Tensor]
    down: FusedLinear


class Batch:
    """Sequences that take steps together: their pages, and the position that each writes next."""

    def __init__(self, index: PageIndex, lengths: Sequence[int], dtype: torch.dtype, device: torch.device) -> None:
        self.index = index
        self.positions_B = torch.tensor(lengths, device=device)
        self._line_B = torch.arange(len(lengths), device=device)
        places_S = torch.arange(index.num_pages * PAGE_POSITIONS, device=device)
        self.bias_BS = torch.zeros((len(lengths), len(places_S)), dtype=dtype, device=device)
        self.bias_BS.masked_fill_(places_S >= self.positions_B[:, None], -torch.inf)

    def open_next(self) -> tuple[Tensor, Tensor]:
        """Pages and offsets of the next positions, which from now on are seen."""
        self.bias_BS[self._line_B, self.positions_B] = 0
        pages_B = self.index.tables_BP[self._line_B, self.positions_B // PAGE_POSITIONS]
        return pages_B, self.positions_B % PAGE_POSITIONS

    def advance(self) -> None:
        """One position further."""
        self.positions_B += 1


class Decoder:
    """The model's weights, fused, and a cache of pages.

    Args:
        model: on the device it is to run on; not needed afterwards.
        num_sequences: how many will take steps together; decides how weights are held.
        num_pages: of the cache.
        dtype: the precision (see above); None: the model's compute dtype, float32 for the smallest models.
        consume: each layer of the model gives its memory back as soon as it is laid out here, so that the two are never
            there together; the model is of no use afterwards.
    """

    @torch.inference_mode()
    def __init__(
        self,
        model: Llama,
        *,
        num_sequences: int,
        num_pages: int,
        dtype: torch.dtype | None = None,
        consume: bool = False,
    ) -> None:
        config = model.config
        self.config = config
        self.device = model.lm_head.weight.device
        is_cpu = self.device.type == "cpu"
        stored = dtype or _fitting_dtype(model, num_sequences)
        self.dtype = torch.float32 if stored == torch.float16 and is_cpu else stored
        self.layers: list[_Weights] = []
        for layer in cast(list[Layer], list(model.model.layers)):
            self.layers.append(_fused(layer, stored, num_sequences))
            if consume:
                layer.to("meta")
        head = model.lm_head.weight * (model.model.norm.weight * config.hidden_size**0.5)
        self.head = fused_linear(head.to(stored), num_rows=num_sequences)
        self.embedding = model.model.embed_tokens.weight.detach().to(stored)
        self.width = config.head_dim
        self.num_rotating = config.num_attention_heads + config.num_key_value_heads
        half = config.head_dim // 2
        self.rotations = torch.complex(model.rope_cos[:, :half].float(), model.rope_sin[:, :half].float())
        self.root_epsilon = torch.tensor((config.hidden_size * config.rms_norm_eps) ** 0.5, device=self.device)
        self._stored = stored
        self.open_cache(num_pages)

    def open_cache(self, num_pages: int) -> None:
        """A cache of its own, empty: after a fork, since zeros written before it stay in the parent for good."""
        self.cache = PagedCache(self.config, num_pages=num_pages, dtype=self._stored, device=self.device)

    def batch(self, tables: Sequence[Sequence[int]], lengths: Sequence[int]) -> Batch:
        """Sequences by their pages and the positions they hold; each must have room for its next position."""
        return Batch(self.cache.index(tables), lengths, self.cache.dtype, self.device)

    @torch.inference_mode()
    def step(self, tokens_B: Tensor, batch: Batch) -> Tensor:
        """Logits (B, V), float32, after one more token of every sequence."""
        pages_B, offsets_B = batch.open_next()

        def attend(layer: int, q_BHW: Tensor, k_BGW: Tensor, v_BGW: Tensor) -> Tensor:
            self.cache.write(layer, k_BGW, v_BGW, pages_B, offsets_B)
            return self.cache.attend(layer, q_BHW, batch.index, batch.bias_BS)

        x_BD = self._layers(tokens_B, batch.positions_B, attend)
        batch.advance()
        return self.head(self._normed(x_BD)).float()

    @torch.inference_mode()
    def read(self, tokens_T: Tensor, pages: Sequence[int], start: int, num_logits: int = 1) -> Tensor:
        """Read a chunk of one prompt into its pages; logits (K, V), float32, after its last `num_logits` tokens.

        Args:
            tokens_T: int64.
            pages: of the prompt, as far as the chunk reaches.
            start: position of the chunk's first token; those before it are in the pages.
            num_logits: the head's product is a fifth of a small model's work and is done for these rows only.
        """
        positions_T = torch.arange(start, start + len(tokens_T), device=self.device)
        table = torch.tensor(pages, device=self.device)
        pages_T, offsets_T = table[positions_T // PAGE_POSITIONS], positions_T % PAGE_POSITIONS

        def attend(layer: int, q_THW: Tensor, k_TGW: Tensor, v_TGW: Tensor) -> Tensor:
            self.cache.write(layer, k_TGW, v_TGW, pages_T, offsets_T)
            return self.cache.attend_prompt(layer, q_THW, table, start)

        x_TD = self._layers(tokens_T, positions_T, attend)
        last_KD = x_TD[len(tokens_T) - num_logits :]
        return self.head(self._normed(last_KD)).float()

    def _layers(
        self, tokens_N: Tensor, positions_N: Tensor, attend: Callable[[int, Tensor, Tensor, Tensor], Tensor]
    ) -> Tensor:
        """The hidden state of every row before the last norm, (N, D)."""
        heads, rotating = self.config.num_attention_heads, self.num_rotating
        rotations = self.rotations[positions_N].unsqueeze(1)  # (N, 1, W / 2), against (N, H + G, W / 2)
        x_ND = F.embedding(tokens_N, self.embedding).to(self.dtype)
        for index, weights in enumerate(self.layers):
            qkv = torch.div(weights.qkv(x_ND), self._norm(x_ND)).view(len(tokens_N), -1, self.width)
            pairs = qkv[:, :rotating].view(len(tokens_N), rotating, -1, 2)
            torch.view_as_complex(pairs).mul_(rotations)
            out_NE = attend(index, qkv[:, :heads], qkv[:, heads:rotating], qkv[:, rotating:])
            x_ND = weights.out.plus(out_NE.to(self.dtype), x_ND)
            x_ND = weights.down.plus(weights.swiglu(self._normed(x_ND)), x_ND)
        return x_ND

    def _norm(self, x_ND: Tensor) -> Tensor:
        """Each row's length, (N, 1), float32: RMSNorm's divisor but for the root of D, which the weights hold."""
        length_N1: Tensor = torch.linalg.vector_norm(x_ND, dim=-1, keepdim=True, dtype=torch.float32)
        return length_N1.hypot_(self.root_epsilon)

    def _normed(self, x_ND: Tensor) -> Tensor:
        return torch.div(x_ND, self._norm(x_ND), out=torch.empty_like(x_ND))


def _fitting_dtype(model: Llama, num_sequences: int) -> torch.dtype:
    """The model's compute dtype, but float32 where weights are so few that conversions cost more."""
    num_weights = sum(parameter.numel() for parameter in model.parameters())
    is_small = num_weights <= _FLOAT32_WEIGHTS and num_sequences <= _FLOAT32_SEQUENCES
    return torch.float32 if is_small and model.lm_head.weight.device.type == "cpu" else model.compute_dtype


def _fused(layer: Layer, dtype: torch.dtype, num_rows: int) -> _Weights:
    attention, mlp, width = layer.self_attn, layer.mlp, layer.self_attn.head_dim
    root = attention.q_proj.in_features**0.5
    before_attention, before_mlp = layer.input_layernorm.weight * root, layer.post_attention_layernorm.weight * root
    query = _paired(attention.q_proj, width) * width**-0.5
    qkv = torch.cat([query, _paired(attention.k_proj, width), attention.v_proj.weight])
    gate, up = (matrix.weight * before_mlp for matrix in (mlp.gate_proj, mlp.up_proj))
    return _Weights(
        qkv=fused_linear((qkv * before_attention).to(dtype), num_rows=num_rows),
        out=fused_linear(attention.o_proj.weight.to(dtype), num_rows=num_rows),
        swiglu=fused_swiglu(gate.to(dtype), up.to(dtype), num_rows=num_rows),
        down=fused_linear(mlp.down_proj.weight.to(dtype), num_rows=num_rows),
    )


def _paired(projection: nn.Linear, width: int) -> Tensor:
    """The projection's rows with the two halves of each head interleaved: rotating pairs side by side."""
    return projection.weight.view(-1, 2, width // 2, projection.in_features).transpose(1, 2).flatten(0, 2)
