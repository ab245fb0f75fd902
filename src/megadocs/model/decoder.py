"""One decoding step over a key-value cache, as a flat run of few, large operations.

    decoder = Decoder(model, num_sequences=16, length=256)
    logits_BV = decoder.feed(prompt_tokens_BT, padding_B)      # then one new token a sequence and call
    decoder.keep(indices)                                      # drop sequences that have ended

What a step costs at these sizes is the number of operations, the weights' way from memory, and the cache's way from
memory. Hence: query, key and value are one product; norms' weights and the score's scale are folded into the products
behind them, and a norm's division by the row's length is the conversion that follows or precedes a product; pairs that
rotate together stand side by side, so that a rotation is one complex product; residuals are added by the product
itself. How a weight is held is told in `fused_linear`, the cache in `kv_cache`. All is bfloat16 where the model is,
unless the weights are so few and the batch so small that the conversions cost more; rotation and norms are float32.

Suffixes: B sequences, T new positions, N = B * T, S positions so far, H query heads, G key and value heads,
W head width, D hidden, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from megadocs.model.fused_linear import FusedLinear, fused_linear, fused_swiglu
from megadocs.model.kv_cache import KeyValueCache
from megadocs.model.llama import Layer, Llama

#: Up to this many weights and sequences float32 products beat bfloat16 ones on a CPU (5 against 15 us each).
_FLOAT32_WEIGHTS = 4_000_000
_FLOAT32_SEQUENCES = 8


class _Weights(NamedTuple):
    """One layer, norms and scale folded in."""

    qkv: FusedLinear
    out: FusedLinear
    swiglu: Callable[[Tensor], Tensor]
    down: FusedLinear


class Decoder:
    """The model's weights, fused, and a cache for a fixed number of sequences and positions."""

    @torch.inference_mode()
    def __init__(self, model: Llama, *, num_sequences: int, length: int) -> None:
        config = model.config
        self.device = model.lm_head.weight.device
        num_weights = sum(parameter.numel() for parameter in model.parameters())
        is_small = num_weights <= _FLOAT32_WEIGHTS and num_sequences <= _FLOAT32_SEQUENCES
        self.dtype = torch.float32 if is_small and self.device.type == "cpu" else model.compute_dtype
        layers = cast(list[Layer], list(model.model.layers))
        self.layers = [_fused(layer, self.dtype, num_sequences) for layer in layers]
        head = model.lm_head.weight * (model.model.norm.weight * config.hidden_size**0.5)
        self.head = fused_linear(head.to(self.dtype), num_rows=num_sequences)
        self.embedding = model.model.embed_tokens.weight
        self.width = config.head_dim
        self.num_rotating = config.num_attention_heads + config.num_key_value_heads
        half = config.head_dim // 2
        self.turns = torch.complex(model.rope_cos[:length, :half].float(), model.rope_sin[:length, :half].float())
        self.least = torch.tensor((config.hidden_size * config.rms_norm_eps) ** 0.5, device=self.device)
        self.cache = KeyValueCache(
            config, num_sequences=num_sequences, length=length, dtype=self.dtype, device=self.device
        )

    @torch.inference_mode()
    def feed(self, tokens_BT: Tensor, padding_B: Tensor | None) -> Tensor:
        """Logits (B, V), float32, after the last of these tokens; the cache holds all fed so far.

        Args:
            tokens_BT: int64.
            padding_B: how many of each sequence's first positions are padding; None: none of any.
        """
        batch, length = tokens_BT.shape
        start = self.cache.used
        stop = start + length
        if padding_B is None:
            turns = self.turns[start:stop].unsqueeze(1)  # (T, 1, W / 2), against (B, T, H + G, W / 2)
        else:
            places_BT = torch.arange(start, stop, device=self.device)[None] - padding_B[:, None]
            turns = self.turns[places_BT.clamp_min_(0)].unsqueeze(2)
        step = self.cache.advance(length, self._bias(start, stop, padding_B))
        x_ND = F.embedding(tokens_BT.reshape(-1), self.embedding).to(self.dtype)
        for index, weights in enumerate(self.layers):
            qkv = torch.div(weights.qkv(x_ND), self._norm(x_ND)).view(batch, length, -1, self.width)
            rotating = qkv[:, :, : self.num_rotating].view(batch, length, -1, self.width // 2, 2)
            torch.view_as_complex(rotating).mul_(turns)
            x_ND = weights.out.plus(self.cache.attend(step, index, qkv), x_ND)
            x_ND = weights.down.plus(weights.swiglu(self._normed(x_ND)), x_ND)
        last_BD = x_ND if length == 1 else x_ND.view(batch, length, -1)[:, -1]
        return self.head(self._normed(last_BD)).float()

    @torch.inference_mode()
    def keep(self, indices: Tensor) -> None:
        """Go on with these sequences only, int64 indices into the present ones."""
        self.cache.keep(indices)

    def _norm(self, x_ND: Tensor) -> Tensor:
        """Each row's length, (N, 1), float32: RMSNorm's divisor but for the root of D, which the weights hold."""
        length_N1: Tensor = torch.linalg.vector_norm(x_ND, dim=-1, keepdim=True, dtype=torch.float32)
        return length_N1.hypot_(self.least)

    def _normed(self, x_ND: Tensor) -> Tensor:
        return torch.div(x_ND, self._norm(x_ND), out=torch.empty_like(x_ND))

    def _bias(self, start: int, stop: int, padding_B: Tensor | None) -> Tensor | None:
        """0 or -inf, (B or 1, 1, T, S); None where every cached position may be seen."""
        if padding_B is None and stop - start == 1:
            return None
        rows = torch.arange(start, stop, device=self.device)[:, None]
        columns = torch.arange(stop, device=self.device)[None]
        is_seen = (columns <= rows)[None]
        if padding_B is not None:  # padding sees itself: a row without any key would be NaN
            is_seen = is_seen & ((columns[None] >= padding_B[:, None, None]) | (columns == rows)[None])
        bias = torch.zeros(is_seen.shape, dtype=self.dtype, device=self.device)
        return bias.masked_fill_(~is_seen, -torch.inf).unsqueeze(1)


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
