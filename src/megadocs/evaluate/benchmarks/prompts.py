"""Context and continuation as tokens, split where lm-evaluation-harness splits them.

The text of both is encoded as a whole and cut after as many tokens as the context alone has: a word that begins with
the continuation's space is then one token, as in running text. Blanks at the end of a context move to the continuation.

    encoder = PromptEncoder(tokenizer)
    pairs = encoder.encode_pairs(["Question: ...\\nAnswer:"], [" yes"])
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt


class TextTokenizer(Protocol):
    """What prompts need of a tokenizer (`text.tokenizer.Tokenizer` has it)."""

    bos_id: int | None
    eos_id: int
    vocab_size: int

    @property
    def fingerprint(self) -> str:
        """Digest of the tokenizer."""
        ...

    def to_json(self) -> str:
        """Text of its `tokenizer.json`."""
        ...

    def encode_batch(self, texts: Sequence[str]) -> list[npt.NDArray[np.uint32]]:
        """Ids without separators."""
        ...


@dataclass(frozen=True, slots=True)
class TokenPair:
    """Tokens of a context (at least one) and of the continuation to be scored (at least one)."""

    context: tuple[int, ...]
    continuation: tuple[int, ...]


class PromptEncoder:
    """Encodes prompts for one model.

    Args:
        tokenizer: the model's.
        add_bos: whether prompts start with BOS. None: whether the tokenizer's own `tokenizer.json` puts one there,
            which is what transformers and lm-evaluation-harness do (Llama 3: yes; SmolLM2: no). Models trained by
            megadocs saw a BOS before every document: say True for them.
    """

    def __init__(self, tokenizer: TextTokenizer, *, add_bos: bool | None = None) -> None:
        self.tokenizer = tokenizer
        self.add_bos = _puts_bos(tokenizer) if add_bos is None else add_bos and tokenizer.bos_id is not None

    @property
    def prefix_id(self) -> int:
        """What stands before a text that has nothing before it: BOS, or EOS where there is none."""
        return self.tokenizer.eos_id if self.tokenizer.bos_id is None else self.tokenizer.bos_id

    def encode_pairs(self, contexts: Sequence[str], continuations: Sequence[str]) -> list[TokenPair]:
        """One pair of tokens for each pair of texts."""
        heads = [context.rstrip() for context in contexts]
        wholes = [context + continuation for context, continuation in zip(contexts, continuations, strict=True)]
        distinct = list(dict.fromkeys(heads))
        head_ids = dict(zip(distinct, self.tokenizer.encode_batch(distinct), strict=True))
        pairs = []
        for head, whole in zip(heads, self.tokenizer.encode_batch(wholes), strict=True):
            cut = len(head_ids[head])
            context = tuple(head_ids[head].tolist())
            if self.add_bos or not context:
                context = (self.prefix_id, *context)
            pairs.append(TokenPair(context, tuple(whole[cut:].tolist())))
        return pairs


def _puts_bos(tokenizer: TextTokenizer) -> bool:
    import tokenizers

    ids = tokenizers.Tokenizer.from_str(tokenizer.to_json()).encode("a", add_special_tokens=True).ids
    return tokenizer.bos_id is not None and bool(ids) and ids[0] == tokenizer.bos_id
