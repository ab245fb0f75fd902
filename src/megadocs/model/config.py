"""What shape a student has: presets, the recipe's overrides, exact parameter and FLOP counts.

    config = resolve_config(recipe.model, vocab_size=2048, context_length=256)
    config.num_parameters, config.flops_per_token(256)

`LlamaConfig` uses Hugging Face's field names, so that `config.json` is a plain dump. The presets `150m` to `1_5b` are
the paper's and have exactly its parameter counts at a vocabulary of 128,256 (facts, section 6). `tiny` is the demo's:
1,328,256 parameters at a vocabulary of 2,048. `5m`, `20m` and `60m` are named after their size at vocabularies of
4,096, 8,192 and 8,192. Every preset has heads of 64, as the paper's do.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from megadocs.errors import RecipeError
from megadocs.recipe.training import ModelConfig, Preset

#: preset -> hidden_size, intermediate_size, num_hidden_layers, num_attention_heads, num_key_value_heads
PRESETS: dict[Preset, tuple[int, int, int, int, int]] = {
    "tiny": (128, 352, 4, 2, 2),
    "5m": (256, 704, 4, 4, 4),
    "20m": (384, 1024, 8, 6, 6),
    "60m": (640, 1792, 10, 10, 10),
    "150m": (512, 1792, 6, 8, 8),
    "300m": (768, 2688, 12, 12, 12),
    "600m": (1024, 3584, 24, 16, 8),
    "1_5b": (1536, 5376, 36, 16, 8),
}


@dataclass(frozen=True)
class LlamaConfig:
    """The complete shape of a Llama; every field has the name it has in `config.json`."""

    vocab_size: int
    hidden_size: int
    intermediate_size: int
    num_hidden_layers: int
    num_attention_heads: int
    num_key_value_heads: int
    head_dim: int
    max_position_embeddings: int
    rope_theta: float = 10_000.0
    rope_scaling: dict[str, Any] | None = None
    rms_norm_eps: float = 1e-5
    tie_word_embeddings: bool = False

    @property
    def num_parameters(self) -> int:
        """Every weight once (tied embeddings count once)."""
        return self.num_parameters_without_input_embedding + (
            0 if self.tie_word_embeddings else self.vocab_size * self.hidden_size
        )

    @property
    def num_parameters_without_input_embedding(self) -> int:
        """Weights that take part in a matrix product or a norm: the ones that cost FLOPs."""
        attention = 2 * self.hidden_size * self.head_dim * (self.num_attention_heads + self.num_key_value_heads)
        feed_forward = 3 * self.hidden_size * self.intermediate_size
        layer = attention + feed_forward + 2 * self.hidden_size
        return self.num_hidden_layers * layer + self.hidden_size + self.vocab_size * self.hidden_size

    def flops_per_token(self, context_length: int) -> float:
        """Forward and backward FLOPs per token: 6 x parameters without the input embedding, plus causal attention.

        A token attends to half a window on average: two products of head_dim x T/2 multiply-adds for each head, three
        times (one forward, two backward).
        """
        attention = 6 * self.num_hidden_layers * self.num_attention_heads * self.head_dim * context_length
        return float(6 * self.num_parameters_without_input_embedding + attention)


def resolve_config(config: ModelConfig, *, vocab_size: int, context_length: int) -> LlamaConfig:
    """The preset with the recipe's overrides; refuses head counts that do not divide (RecipeError)."""
    hidden, intermediate, layers, heads, kv_heads = PRESETS[config.preset]
    if config.num_attention_heads is not None and config.num_key_value_heads is None:
        kv_heads = config.num_attention_heads
    hidden = config.hidden_size or hidden
    heads = config.num_attention_heads or heads
    kv_heads = config.num_key_value_heads or kv_heads
    if hidden % heads or (hidden // heads) % 2:
        raise RecipeError(
            f"hidden_size {hidden} does not split into {heads} heads of even width",
            where="model.num_attention_heads",
            remedy="choose a number of heads that divides hidden_size into even parts, such as hidden_size / 64",
        )
    if heads % kv_heads:
        raise RecipeError(
            f"{heads} query heads cannot share {kv_heads} key and value heads",
            where="model.num_key_value_heads",
            remedy="choose a divisor of num_attention_heads",
        )
    return LlamaConfig(
        vocab_size=vocab_size,
        hidden_size=hidden,
        intermediate_size=config.intermediate_size or intermediate,
        num_hidden_layers=config.num_hidden_layers or layers,
        num_attention_heads=heads,
        num_key_value_heads=kv_heads,
        head_dim=hidden // heads,
        max_position_embeddings=context_length,
        rope_theta=config.rope_theta,
        rms_norm_eps=config.rms_norm_eps,
        tie_word_embeddings=config.tie_word_embeddings,
    )
