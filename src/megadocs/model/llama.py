"""The student: Llama with Hugging Face's parameter names, float32 weights and a compute dtype of choice.

    model = build_model(recipe.model, vocab_size=2048, context_length=256, seed=0)
    logits_BTV = model(tokens_BT)                                   # float32
    loss = model(tokens_BT, loss_scale=1 / num_targets)              # scalar, float32, without the logits table
    losses_BT = model.token_losses(tokens_BT)                       # nats per target (B, T-1), for evaluation

Pre-norm RMSNorm, SwiGLU, RoPE, no biases, no QK norm (facts, section 6). Parameters stay float32; each is cast to
`model.compute_dtype` where it is used (a step's casts cost under 1 % at 1.3M parameters; autocast's bookkeeping cost
8 %), activations and the residual stream are in the compute dtype, norms work in float32, and the loss sees float32
logits. Weights depend on the seed, the shape and their own name only: not on data, world size or the order of
construction.

Legend of suffixes: B batch, T positions, D hidden, H query heads, G key and value heads, W head width, V vocabulary.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from megadocs.model.attention import (
    Kernel,
    SegmentGroup,
    attention_mask,
    causal_attention,
    default_kernel,
    masked_attention,
    segment_groups,
)
from megadocs.model.config import LlamaConfig, resolve_config
from megadocs.model.fused_layer import LayerSettings, LayerWeights, fused_layer, fused_norm, phases
from megadocs.model.initialise import initialise
from megadocs.model.loss import LossKernel, compiled_kernel, linear_cross_entropy, token_losses
from megadocs.model.rope import rope_tables, rotate
from megadocs.recipe.training import ModelConfig


class Positions(NamedTuple):
    """What the layers of a pass have in common."""

    cos_TW: Tensor  # of the positions' rotation, compute dtype
    sin_TW: Tensor  # likewise
    phases_T1P: Tensor | None  # the same for fused layers, complex64
    kernel: Kernel | None  # of the attention, on a CPU; None elsewhere: torch's
    groups: list[SegmentGroup] | None  # positions by segment, for fused layers; None: no boundary
    mask_B1TT: Tensor | None  # the same as a mask, for all others
    is_fused: bool  # each layer is one function (`fused_layer.py`)


class RMSNorm(nn.Module):
    """x / rms(x) * weight, in float32 inside."""

    def __init__(self, size: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))
        self.eps = eps

    def forward(self, x: Tensor, *, is_fused: bool = False) -> Tensor:
        """Same shape and dtype as x."""
        if is_fused:
            return fused_norm(x, self.weight, self.eps)
        return F.rms_norm(x, (x.shape[-1],), self.weight.to(x.dtype), self.eps)


class Attention(nn.Module):
    """Causal self-attention with rotary positions and grouped key and value heads."""

    def __init__(self, config: LlamaConfig) -> None:
        super().__init__()
        self.head_dim = config.head_dim
        query, key_value = config.num_attention_heads * self.head_dim, config.num_key_value_heads * self.head_dim
        self.q_proj = nn.Linear(config.hidden_size, query, bias=False)
        self.k_proj = nn.Linear(config.hidden_size, key_value, bias=False)
        self.v_proj = nn.Linear(config.hidden_size, key_value, bias=False)
        self.o_proj = nn.Linear(query, config.hidden_size, bias=False)

    def forward(self, x_BTD: Tensor, positions: Positions) -> Tensor:
        """(B, T, D) to (B, T, D)."""
        batch, length, _ = x_BTD.shape
        q, k, v = (
            F.linear(x_BTD, projection.weight.to(x_BTD.dtype)).view(batch, length, -1, self.head_dim).transpose(1, 2)
            for projection in (self.q_proj, self.k_proj, self.v_proj)
        )
        q, k = (rotate(x, positions.cos_TW, positions.sin_TW) for x in (q, k))
        if positions.kernel is None or positions.mask_B1TT is not None:
            out_BHTW = masked_attention(q, k, v, positions.mask_B1TT)
        else:
            out_BHTW = causal_attention(q, k, v, positions.kernel)
        return F.linear(out_BHTW.transpose(1, 2).reshape(batch, length, -1), self.o_proj.weight.to(x_BTD.dtype))


class FeedForward(nn.Module):
    """SwiGLU."""

    def __init__(self, config: LlamaConfig) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(config.hidden_size, config.intermediate_size, bias=False)
        self.up_proj = nn.Linear(config.hidden_size, config.intermediate_size, bias=False)
        self.down_proj = nn.Linear(config.intermediate_size, config.hidden_size, bias=False)

    def forward(self, x_BTD: Tensor) -> Tensor:
        """(B, T, D) to (B, T, D)."""
        gate = F.linear(x_BTD, self.gate_proj.weight.to(x_BTD.dtype))
        up = F.linear(x_BTD, self.up_proj.weight.to(x_BTD.dtype))
        return F.linear(F.silu(gate) * up, self.down_proj.weight.to(x_BTD.dtype))


class Layer(nn.Module):
    """Attention and feed-forward, each on the normed input and added back."""

    def __init__(self, config: LlamaConfig) -> None:
        super().__init__()
        self.head_dim = config.head_dim
        self.self_attn = Attention(config)
        self.mlp = FeedForward(config)
        self.input_layernorm = RMSNorm(config.hidden_size, config.rms_norm_eps)
        self.post_attention_layernorm = RMSNorm(config.hidden_size, config.rms_norm_eps)

    def forward(self, x_BTD: Tensor, positions: Positions) -> Tensor:
        """(B, T, D) to (B, T, D)."""
        if positions.is_fused:
            return self._fused(x_BTD, positions)
        x_BTD = x_BTD + self.self_attn(self.input_layernorm(x_BTD), positions)
        out: Tensor = x_BTD + self.mlp(self.post_attention_layernorm(x_BTD))
        return out

    def _fused(self, x_BTD: Tensor, positions: Positions) -> Tensor:
        attention, mlp = self.self_attn, self.mlp
        weights = LayerWeights(
            self.input_layernorm.weight,
            attention.q_proj.weight,
            attention.k_proj.weight,
            attention.v_proj.weight,
            attention.o_proj.weight,
            self.post_attention_layernorm.weight,
            mlp.gate_proj.weight,
            mlp.up_proj.weight,
            mlp.down_proj.weight,
        )
        assert positions.kernel is not None and positions.phases_T1P is not None, "fused layers are for CPUs"
        settings = LayerSettings(
            self.head_dim,
            self.input_layernorm.eps,
            positions.phases_T1P,
            positions.kernel,
            positions.groups,
        )
        return fused_layer(x_BTD, weights, settings)


class Backbone(nn.Module):
    """Embedding, layers and final norm; holds the parameters that Hugging Face calls `model.*`."""

    def __init__(self, config: LlamaConfig) -> None:
        super().__init__()
        self.embed_tokens = nn.Embedding(config.vocab_size, config.hidden_size)
        self.layers = nn.ModuleList(Layer(config) for _ in range(config.num_hidden_layers))
        self.norm = RMSNorm(config.hidden_size, config.rms_norm_eps)


class Llama(nn.Module):
    """The whole model. `compute_dtype` may be set at any time; float32 until then."""

    rope_cos: Tensor
    rope_sin: Tensor

    def __init__(self, config: LlamaConfig) -> None:
        super().__init__()
        self.config = config
        self.compute_dtype = torch.float32
        #: Of CPUs; None: the one for the compute type and length where nothing was measured.
        self.attention_kernel: Kernel | None = None
        self._loss_kernel: LossKernel | None = None
        self._is_compiled = False
        self.model = Backbone(config)
        self.lm_head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        if config.tie_word_embeddings:
            self.lm_head.weight = self.model.embed_tokens.weight
        self.reset_rope()

    def compile_parts(self) -> None:
        """Compile each layer and the loss on their own: minutes less than the whole; FSDP2's hooks stay outside."""
        for layer in self.model.layers:
            layer.forward = torch.compile(layer.forward, dynamic=False)
        self._loss_kernel = compiled_kernel()
        self._is_compiled = True

    def reset_rope(self) -> None:
        """Make the position tables (again: after construction on the meta device)."""
        cos, sin = rope_tables(self.config, self.config.max_position_embeddings)
        self.register_buffer("rope_cos", cos, persistent=False)
        self.register_buffer("rope_sin", sin, persistent=False)

    def forward(
        self,
        tokens_BT: Tensor,
        segments_BT: Tensor | None = None,
        kept_BT: Tensor | None = None,
        *,
        loss_scale: float | None = None,
    ) -> Tensor:
        """Logits, float32 (B, T, V); or, with `loss_scale`, that times the summed loss of all T-1 targets a window.

        Args:
            tokens_BT: int64 token ids; T at most `config.max_position_embeddings`.
            segments_BT: ids of the rows or documents of the tokens; attention stays inside each. None: no boundary.
            kept_BT: False where the input token is hidden (its embedding zeroed); targets stay. None: all kept.
            loss_scale: usually one over the number of targets of the whole step.
        """
        hidden_BTD = self.hidden_states(tokens_BT, segments_BT, kept_BT)
        if loss_scale is None:
            return F.linear(hidden_BTD, self.lm_head.weight.to(hidden_BTD.dtype)).float()
        hidden_ND = hidden_BTD[:, :-1].reshape(-1, hidden_BTD.shape[-1])
        targets_N = tokens_BT[:, 1:].reshape(-1)
        return linear_cross_entropy(
            hidden_ND, self.lm_head.weight, targets_N, scale=loss_scale, kernel=self._loss_kernel
        )

    def hidden_states(
        self, tokens_BT: Tensor, segments_BT: Tensor | None = None, kept_BT: Tensor | None = None
    ) -> Tensor:
        """Normed output of the last layer, compute dtype, (B, T, D)."""
        positions = self._positions(tokens_BT, segments_BT)
        x_BTD = self.model.embed_tokens(tokens_BT).to(self.compute_dtype)
        if kept_BT is not None:
            x_BTD = x_BTD * kept_BT.unsqueeze(-1)
        for layer in self.model.layers:
            x_BTD = layer(x_BTD, positions)
        out: Tensor = self.model.norm(x_BTD, is_fused=positions.is_fused)
        return out

    def _positions(self, tokens_BT: Tensor, segments_BT: Tensor | None) -> Positions:
        length = tokens_BT.shape[1]
        cos_TW, sin_TW = (table[:length].to(self.compute_dtype) for table in (self.rope_cos, self.rope_sin))
        on_cpu = tokens_BT.device.type == "cpu"
        is_fused = on_cpu and not self._is_compiled
        kernel = (self.attention_kernel or default_kernel(self.compute_dtype, length)) if on_cpu else None
        phases_T1P = phases(self.rope_cos[:length], self.rope_sin[:length]) if is_fused else None
        groups = segment_groups(segments_BT) if is_fused else None
        mask_B1TT = None if is_fused else attention_mask(segments_BT)
        return Positions(cos_TW, sin_TW, phases_T1P, kernel, groups, mask_B1TT, is_fused)

    @torch.no_grad()
    def token_losses(self, tokens_BT: Tensor, segments_BT: Tensor | None = None) -> Tensor:
        """Negative log-likelihood of tokens 1..T-1 given those before, nats, float32 (B, T-1)."""
        hidden_BTD = self.hidden_states(tokens_BT, segments_BT)[:, :-1]
        head_VD = self.lm_head.weight.to(hidden_BTD.dtype)
        losses_N = token_losses(hidden_BTD.reshape(-1, hidden_BTD.shape[-1]), head_VD, tokens_BT[:, 1:].reshape(-1))
        return losses_N.view(tokens_BT.shape[0], -1)


def build_model(config: ModelConfig, vocab_size: int, context_length: int, seed: int) -> Llama:
    """A freshly initialised student of the recipe's shape, float32, on the CPU."""
    model = Llama(resolve_config(config, vocab_size=vocab_size, context_length=context_length))
    initialise(model, seed)
    return model
