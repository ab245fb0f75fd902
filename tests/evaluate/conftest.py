"""Tiny Llamas of transformers: the oracle, and the models that are scored."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from megadocs.evaluate.evaluation_set import EvaluationSet

VOCAB_SIZE = 61
BOS, EOS = 1, 2


def build_hf_llama(seed: int, vocab_size: int = VOCAB_SIZE, hidden_size: int = 32, max_positions: int = 128):
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=vocab_size,
        hidden_size=hidden_size,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=max_positions,
        initializer_range=0.3,  # large enough that context matters to the loss
        bos_token_id=BOS,
        eos_token_id=EOS,
        pad_token_id=0,
    )
    return LlamaForCausalLM(config).eval()


def build_set(lengths: list[int], seed: int = 0, name: str = "test", vocab_size: int = VOCAB_SIZE) -> EvaluationSet:
    """Random rows BOS ... EOS of the given lengths; three bytes a content token."""
    rng = np.random.default_rng(seed)
    rows = [np.array([BOS, *rng.integers(3, vocab_size, n - 2), EOS], dtype=np.uint16) for n in lengths]
    return EvaluationSet(name, [f"doc{i}" for i in range(len(lengths))], rows, [3 * (n - 2) for n in lengths])


@pytest.fixture(scope="session")
def make_set():
    return build_set


@pytest.fixture(scope="session")
def make_llama():
    return build_hf_llama


@pytest.fixture(scope="session")
def hf_llama():
    return build_hf_llama(0)


@pytest.fixture(scope="session")
def hf_members():
    return [build_hf_llama(seed) for seed in range(4)]
