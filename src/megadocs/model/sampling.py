"""Batched sampling with a key-value cache: text from a model trained here, fast enough on a CPU.

    texts = sample(model, prompts, max_new_tokens=256, temperature=1.0, seeds=[7, 8], eos_id=1)

One forward pass a new token for the whole batch, over caches filled in place; prompts of different lengths are padded
on the left and masked. Each sequence draws from a generator of its own, seeded by its entry in `seeds`, so that on
one machine its text depends on its prompt and seed, and on the company it is computed in only through rounding.
Greedy at temperature 0. transformers' `generate` spends most of its time, for students of this size, in bookkeeping
between small products.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from megadocs.errors import InputError
from megadocs.model.llama import Layer, Llama
from megadocs.model.rope import rotate

#: Cached positions are looked at in multiples of this.
ROUND_TO = 64


@dataclass(frozen=True)
class Sample:
    """New tokens of one sequence, without the end token, and whether it ended by itself."""

    tokens: list[int]
    finished: bool


@torch.inference_mode()
def sample(
    model: Llama,
    prompts: Sequence[Sequence[int]],
    *,
    max_new_tokens: int,
    seeds: Sequence[int],
    temperature: float = 1.0,
    eos_id: int | None = None,
) -> list[Sample]:
    """Continue every prompt.

    Args:
        model: on any device; its compute dtype is used.
        prompts: token ids, at least one each.
        max_new_tokens: cut there; prompt and new tokens together must fit the model's positions.
        seeds: one a prompt.
        temperature: divides the logits; 0 takes the likeliest token.
        eos_id: ends a sequence; none: all run to the cut.

    Raises:
        InputError: an empty prompt, another number of seeds, or more positions than the model has.
    """
    longest = _check(model, prompts, seeds, max_new_tokens)
    decoder = _Decoder(model, num_sequences=len(prompts), length=longest + max_new_tokens)
    padded, padding = _left_pad(prompts, longest, decoder.device)
    uniform_BN = torch.stack([_uniform(seed, max_new_tokens) for seed in seeds])
    logits_BV = decoder.feed(padded, padding)
    new_tokens: list[list[int]] = [[] for _ in prompts]
    finished = [False] * len(prompts)
    for position in range(max_new_tokens):
        chosen_B = _choose(logits_BV, temperature, uniform_BN[:, position])
        for index, token in enumerate(chosen_B.tolist()):
            if finished[index]:
                continue
            if token == eos_id:
                finished[index] = True
            else:
                new_tokens[index].append(token)
        if all(finished) or position == max_new_tokens - 1:
            break
        logits_BV = decoder.feed(chosen_B.to(decoder.device).unsqueeze(1), padding)
    return [Sample(tokens, done) for tokens, done in zip(new_tokens, finished, strict=True)]


class _Decoder:
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


def _uniform(seed: int, count: int) -> Tensor:
    """`count` numbers in [0, 1), float64, of a sequence's own generator."""
    generator = torch.Generator().manual_seed(seed & (2**63 - 1))
    return torch.rand(count, generator=generator, dtype=torch.float64)


def _choose(logits_BV: Tensor, temperature: float, uniform_B: Tensor) -> Tensor:
    """One token a sequence: where its uniform number falls among the cumulated probabilities (float64)."""
    if temperature == 0:
        return logits_BV.argmax(dim=-1).cpu()
    cumulated_BV = torch.softmax(logits_BV.cpu() / temperature, dim=-1).cumsum(dim=-1, dtype=torch.float64)
    thresholds_B1 = uniform_B[:, None] * cumulated_BV[:, -1:]
    return torch.searchsorted(cumulated_BV, thresholds_B1, right=True).squeeze(1).clamp_max_(logits_BV.shape[1] - 1)


def _check(model: Llama, prompts: Sequence[Sequence[int]], seeds: Sequence[int], max_new_tokens: int) -> int:
    if len(seeds) != len(prompts) or not prompts or not all(len(prompt) for prompt in prompts):
        raise InputError(f"{len(prompts)} prompts (each of at least one token) need as many seeds, got {len(seeds)}")
    longest, limit = max(len(prompt) for prompt in prompts), model.config.max_position_embeddings
    if longest + max_new_tokens > limit:
        raise InputError(
            f"{longest} prompt tokens and {max_new_tokens} new ones do not fit the model's {limit} positions",
            remedy="shorten the prompt or ask for fewer tokens",
        )
    return longest


def _left_pad(prompts: Sequence[Sequence[int]], longest: int, device: torch.device) -> tuple[Tensor, Tensor]:
    rows = [[0] * (longest - len(prompt)) + list(prompt) for prompt in prompts]
    padding = [longest - len(prompt) for prompt in prompts]
    return torch.tensor(rows, device=device), torch.tensor(padding, device=device)
