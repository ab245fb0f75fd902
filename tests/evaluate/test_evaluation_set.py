"""Building a set: bytes are UTF-8, order comes from hashes."""

from __future__ import annotations

import math

import numpy as np
import torch

from megadocs.documents import Document
from megadocs.evaluate.document_losses import score_documents
from megadocs.evaluate.evaluation_set import build_evaluation_set
from megadocs.evaluate.scoring_model import ScoringModel


class CharacterTokenizer:
    """One token per character, id 1 + place in the alphabet; 0 is BOS and EOS + 1 the end."""

    alphabet = sorted(set("naïve Straße 日本語 🙂 plain"))
    vocab_size = len(alphabet) + 2

    def encode_rows(self, texts):
        end = self.vocab_size - 1
        return [np.array([0, *(1 + self.alphabet.index(c) for c in t), end], dtype=np.uint32) for t in texts]


def test_bits_per_byte_of_non_ascii_text_counts_utf8_bytes():
    texts = ["naïve", "Straße", "日本語", "🙂", "plain"]
    tokenizer = CharacterTokenizer()
    documents = [Document(id=str(i), text=text) for i, text in enumerate(texts)]
    data = build_evaluation_set("text", documents, tokenizer)
    assert list(data.num_bytes) == [6, 7, 9, 4, 5]
    uniform = ScoringModel.from_callable(
        lambda tokens: torch.zeros(*tokens.shape, tokenizer.vocab_size), tokenizer.vocab_size
    )
    scores = score_documents(uniform, data, context_length=16)
    num_targets = sum(len(text) + 1 for text in texts)
    assert math.isclose(scores.bits_per_byte, num_targets * math.log2(tokenizer.vocab_size) / 31, rel_tol=1e-6)


def test_order_is_by_hash_and_stable():
    documents = [Document(id=c, text="plain") for c in "abcdefgh"]
    data = build_evaluation_set("text", documents, CharacterTokenizer())
    assert "".join(data.ordered().document_ids) == "".join(data.subset(range(7, -1, -1)).ordered().document_ids)
    assert "".join(data.ordered().document_ids) != "abcdefgh"
    assert "".join(data.ordered("given").document_ids) == "abcdefgh"
