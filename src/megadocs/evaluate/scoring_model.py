"""What scoring needs of a language model: hidden states, and the output head applied to some of them.

A model's logits for a whole batch are the largest tensor of an evaluation (32 windows of 4,096 tokens with a vocabulary
of 128,256 are 34 GB in bfloat16). Scoring therefore runs a model in two halves: `hidden` for a batch of tokens, then
the output head for a few positions at a time, and only where a token is predicted.

    model = as_scoring_model(llama, dtype="bfloat16")        # ours, or a transformers causal language model
    model = ScoringModel.from_callable(logits, vocab_size=2048)   # any function from tokens to logits

Shape suffixes: B windows, T tokens of a window, N positions, D hidden size, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
import torch.nn.functional as F

from megadocs.errors import InputError
from megadocs.model.llama import Llama

Dtype = Literal["float32", "bfloat16"]
#: Families of transformers whose logits are `lm_head(decoder(tokens))` and nothing else, whatever their configuration
#: says (held by tests/evaluate/test_families.py). The head of any other family is its own forward pass: gemma2 caps
#: its logits, granite, cohere and falcon_h1 scale them, and decoder and head alone were wrong by 1.1 to 1.4 nats.
# fmt: off
PLAIN_HEADS = frozenset({
    "arcee", "bloom", "ernie4_5", "gemma", "glm", "gpt2", "gpt_neox", "helium", "llama", "mistral", "mixtral",
    "nemotron", "olmo", "olmo2", "olmo3", "opt", "persimmon", "phi", "phi3", "qwen2", "qwen2_moe", "qwen3", "qwen3_moe",
    "seed_oss", "smollm3", "stablelm", "starcoder2",
})
# fmt: on
_PROBE_TOKENS = 8
_TORCH_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


@dataclass(frozen=True)
class ScoringModel:
    """A language model in two halves."""

    #: int64 tokens (B, T) -> states (B, T, D); position t sees tokens 0..t and nothing after.
    hidden: Callable[[torch.Tensor], torch.Tensor]
    vocab_size: int  # V; every token id lies below it
    head_weight: torch.Tensor | None = None  # (V, D), or None where `hidden` already returns logits (B, T, V)
    head_bias: torch.Tensor | None = None  # (V,) or None
    dtype: Dtype = "float32"  # compute type of both halves (parameters stay as they are; losses are always float32)
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))  # where the tokens go
    max_context: int | None = None  # most tokens a window may hold; None: no limit known
    #: tokens (B, T) and segment ids (B, T) -> states, attention staying inside each segment; None: the model knows no
    #: boundaries.
    hidden_within: Callable[[torch.Tensor, torch.Tensor], torch.Tensor] | None = None

    @classmethod
    def from_callable(
        cls, logits: Callable[[torch.Tensor], torch.Tensor], vocab_size: int, *, max_context: int | None = None
    ) -> ScoringModel:
        """Wrap a function from tokens (B, T) to logits (B, T, V); its memory is its own affair."""
        return cls(hidden=logits, vocab_size=vocab_size, max_context=max_context)

    def open_head(self) -> Callable[[torch.Tensor], torch.Tensor]:
        """States (N, D) -> logits (N, V). The weight is cast to the compute type here, once, not per call."""
        if self.head_weight is None:
            return lambda logits_NV: logits_NV
        dtype = _TORCH_DTYPES[self.dtype]
        weight_VD = self.head_weight.to(dtype)
        bias_V = None if self.head_bias is None else self.head_bias.to(dtype)
        return lambda states_ND: F.linear(states_ND.to(dtype), weight_VD, bias_V)


def as_scoring_model(model: Any, *, dtype: Dtype = "float32") -> ScoringModel:
    """A `ScoringModel` of a megadocs `Llama` or of a transformers causal language model; puts it into eval mode.

    Raises:
        InputError: the object is neither, or a position of it sees later tokens.
    """
    if isinstance(model, ScoringModel):
        return model
    head: Any = None
    kind = "llama"
    if isinstance(model, Llama):
        head = model.lm_head
    elif isinstance(model, torch.nn.Module) and hasattr(getattr(model, "config", None), "vocab_size"):
        kind = str(getattr(model.config, "model_type", ""))
        head = model.lm_head if kind in PLAIN_HEADS and hasattr(model, "lm_head") else None
    else:
        raise InputError(
            f"{type(model).__name__} is not a model that can be scored",
            remedy="pass a megadocs Llama, a transformers causal language model, or ScoringModel.from_callable(...)",
        )
    model.eval()
    if not isinstance(model, Llama):
        _check_causal(model, kind)
    limit = getattr(model.config, "max_position_embeddings", None)
    own = _own_body(model, dtype) if isinstance(model, Llama) else None
    body: Callable[..., torch.Tensor] = own or (_whole_forward if head is None else _decoder)(model, dtype)
    return ScoringModel(
        hidden=body,
        vocab_size=model.config.vocab_size if head is None else head.out_features,
        head_weight=None if head is None else head.weight.detach(),
        head_bias=None if head is None or head.bias is None else head.bias.detach(),
        dtype=dtype,
        device=next(model.parameters()).device,
        max_context=limit if isinstance(limit, int) and limit > 0 else None,
        hidden_within=own,
    )


def _check_causal(model: Any, kind: str) -> None:
    """Refuse a model whose early positions change with the last token: an encoder such as BERT scores what it sees."""
    size, device = model.config.vocab_size, next(model.parameters()).device
    tokens_BT = torch.arange(2 * _PROBE_TOKENS, device=device).remainder(size).view(2, -1)
    tokens_BT[1, :-1] = tokens_BT[0, :-1]
    with torch.no_grad():
        logits_BTV = model(input_ids=tokens_BT, use_cache=False).logits.float()
    one, other = logits_BTV[:, :-1]
    if not torch.allclose(one, other, rtol=1e-2, atol=1e-2):
        raise InputError(
            f"a {kind} model sees later tokens: its likelihoods are no predictions",
            remedy="score a causal language model (for BERT and its like, one that was trained with is_decoder: true)",
        )


def _own_body(model: Llama, dtype: Dtype) -> Callable[..., torch.Tensor]:
    """Our model computes in the type it is told; what it was told before is put back."""

    def hidden(tokens_BT: torch.Tensor, segments_BT: torch.Tensor | None = None) -> torch.Tensor:
        before = model.compute_dtype
        model.compute_dtype = _TORCH_DTYPES[dtype]
        try:
            return model.hidden_states(tokens_BT, segments_BT)
        finally:
            model.compute_dtype = before

    return hidden


def _decoder(model: Any, dtype: Dtype) -> Callable[[torch.Tensor], torch.Tensor]:
    """The decoder without its head; bfloat16 by autocast, so float32 weights stay float32."""
    decoder = model.get_decoder()

    def hidden(tokens_BT: torch.Tensor) -> torch.Tensor:
        with torch.autocast(tokens_BT.device.type, dtype=torch.bfloat16, enabled=dtype == "bfloat16"):
            states: torch.Tensor = decoder(input_ids=tokens_BT, use_cache=False).last_hidden_state
        return states

    return hidden


def _whole_forward(model: Any, dtype: Dtype) -> Callable[[torch.Tensor], torch.Tensor]:
    """The model's own logits, all positions of a batch at once."""

    def hidden(tokens_BT: torch.Tensor) -> torch.Tensor:
        with torch.autocast(tokens_BT.device.type, dtype=torch.bfloat16, enabled=dtype == "bfloat16"):
            logits: torch.Tensor = model(input_ids=tokens_BT, use_cache=False).logits
        return logits

    return hidden
