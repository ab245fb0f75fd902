"""One decoding step over a key-value cache: a Llama's weights fused once, the cache written in place.

    decoder = Decoder(model, num_sequences=16, length=256)
    logits_BV = decoder.feed(prompt_tokens_BT, padding_B)      # then one new token a sequence and call
    decoder.keep(indices)                                      # drop sequences that have ended

Suffixes: B sequences, T new positions, S cached positions, V vocabulary.
"""

from __future__ import annotations

from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from megadocs.model.llama import Layer, Llama
from megadocs.model.rope import rotate

#: Cached positions are looked at in multiples of this.
ROUND_TO = 64


class Decoder:
    """The model's weights in the compute dtype, fused, and a cache for a fixed number of sequences and positions."""

    def __init__(self, model: Llama, *, num_sequences: int, length: int) -> None:
        config, dtype = model.config, model.compute_dtype
        self.config = config
        self.device = model.lm_head.weight.device
        self.model = model
        self.layers = [
            (
                layer.input_layernorm.weight.to(dtype),
                _fused(dtype, layer.self_attn.q_proj, layer.self_attn.k_proj, layer.self_attn.v_proj),
                layer.self_attn.o_proj.weight.to(dtype),
                layer.post_attention_layernorm.weight.to(dtype),
                _fused(dtype, layer.mlp.gate_proj, layer.mlp.up_proj),
                layer.mlp.down_proj.weight.to(dtype),
            )
            for layer in cast(list[Layer], list(model.model.layers))
        ]
        self.norm, self.head = model.model.norm.weight.to(dtype), model.lm_head.weight.to(dtype)
        self.embedding = model.model.embed_tokens.weight.to(dtype)
        self.cos, self.sin = model.rope_cos.to(dtype), model.rope_sin.to(dtype)
        shape = (config.num_hidden_layers, num_sequences, config.num_key_value_heads, length, config.head_dim)
        self.keys = torch.zeros(shape, dtype=dtype, device=self.device)
        self.values = torch.zeros(shape, dtype=dtype, device=self.device)
        self.used = 0

    def feed(self, tokens_BT: Tensor, padding_B: Tensor) -> Tensor:
        """Logits (B, V), float32, after the last of these tokens; the cache holds all fed so far."""
        start, stop = self.used, self.used + tokens_BT.shape[1]
        positions_BT = (torch.arange(start, stop, device=self.device)[None] - padding_B[:, None]).clamp_min_(0)
        cos, sin = self.cos[positions_BT].unsqueeze(1), self.sin[positions_BT].unsqueeze(1)
        mask_BTS = self._mask(start, stop, padding_B)
        x = F.embedding(tokens_BT, self.embedding)
        for index in range(len(self.layers)):
            x = self._layer(index, x, cos, sin, mask_BTS, slice(start, stop))
        self.used = stop
        return F.linear(self._normed(x[:, -1], self.norm), self.head).float()

    def keep(self, indices: Tensor) -> None:
        """Go on with these sequences only, int64 indices into the present ones."""
        self.keys, self.values = self.keys[:, indices], self.values[:, indices]

    def _layer(self, index: int, x: Tensor, cos: Tensor, sin: Tensor, mask_BTS: Tensor, new: slice) -> Tensor:
        norm_in, qkv_weight, out_weight, norm_mlp, gate_up, down = self.layers[index]
        batch, length, width, config = x.shape[0], x.shape[1], self.config.head_dim, self.config
        heads, groups, seen = config.num_attention_heads, config.num_key_value_heads, mask_BTS.shape[2]
        qkv = F.linear(self._normed(x, norm_in), qkv_weight).view(batch, length, -1, width).transpose(1, 2)
        rotated = rotate(qkv[:, : heads + groups], cos, sin)
        self.keys[index, :, :, new] = rotated[:, heads:]
        self.values[index, :, :, new] = qkv[:, heads + groups :]
        keys, values = self.keys[index, :, :, :seen], self.values[index, :, :, :seen]
        # Query heads of a group become extra queries of one key and value head: no copy of the cache.
        q = rotated[:, :heads].reshape(batch, groups, heads // groups * length, width)
        scores = torch.matmul(q * width**-0.5, keys.transpose(-1, -2)).view(batch, groups, -1, length, seen)
        weights = torch.softmax(scores + mask_BTS[:, None, None], dim=-1).view(batch, groups, -1, seen)
        out = torch.matmul(weights, values).view(batch, heads, length, width)
        x = x + F.linear(out.transpose(1, 2).reshape(batch, length, -1), out_weight)
        gate, up = F.linear(self._normed(x, norm_mlp), gate_up).chunk(2, dim=-1)
        return x + F.linear(F.silu(gate) * up, down)

    def _normed(self, x: Tensor, weight: Tensor) -> Tensor:
        return F.rms_norm(x, (x.shape[-1],), weight, self.config.rms_norm_eps)

    def _mask(self, start: int, stop: int, padding_B: Tensor) -> Tensor:
        """0 or -inf, (B, T, S). S is `stop` rounded up: a new shape has kernels made for it, which costs more."""
        visible = min(-(-stop // ROUND_TO) * ROUND_TO, self.keys.shape[3])
        rows = torch.arange(start, stop, device=self.device)[:, None]
        columns = torch.arange(visible, device=self.device)[None]
        seen_BTS = (columns <= rows)[None] & (columns[None] >= padding_B[:, None, None])
        seen_BTS = seen_BTS | (columns == rows)[None]  # padding sees itself: a row without any key would be NaN
        return torch.zeros(seen_BTS.shape, dtype=self.keys.dtype, device=self.device).masked_fill_(
            ~seen_BTS, -torch.inf
        )


def _fused(dtype: torch.dtype, *projections: nn.Linear) -> Tensor:
    return torch.cat([projection.weight for projection in projections]).to(dtype)
