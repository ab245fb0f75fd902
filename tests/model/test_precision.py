"""Which precision is taken: by the rates, the more exact one on a near tie, only what the machine can do."""

from __future__ import annotations

import pytest
import torch

from megadocs.model import precision as module
from megadocs.model.config import LlamaConfig
from megadocs.model.precision import PRECISIONS, Choice, fastest_precision

CONFIG = LlamaConfig(
    vocab_size=50,
    hidden_size=32,
    intermediate_size=64,
    num_hidden_layers=1,
    num_attention_heads=2,
    num_key_value_heads=2,
    head_dim=16,
    max_position_embeddings=64,
    rope_theta=10_000.0,
    rope_scaling=None,
    rms_norm_eps=1e-5,
    tie_word_embeddings=True,
)


@pytest.mark.parametrize(
    ("rates", "taken"),
    [
        ((100, 90, 80), "float32"),
        ((100, 109, 108), "float32"),  # not worth being less exact
        ((100, 120, 60), "float16"),
        ((100, 120, 125), "float16"),
        ((100, 120, 140), "bfloat16"),
        ((100, 90, 400), "bfloat16"),  # AMX
    ],
)
def test_the_fastest_is_taken_unless_a_more_exact_one_is_near(rates, taken, monkeypatch):
    of_dtype = dict(zip(PRECISIONS.values(), rates, strict=True))
    monkeypatch.setattr(module, "_is_candidate", lambda dtype: True)
    monkeypatch.setattr(module, "_rate", lambda config, dtype, num_rows: float(of_dtype[dtype]))
    choice = fastest_precision(CONFIG, num_rows=64)
    assert choice.name == taken
    assert str(choice).startswith(f"{taken} (products of 64 rows a second and layer: float32 100,")


def test_only_what_the_machine_can_do_is_measured(monkeypatch):
    monkeypatch.setattr(module, "packed_operators", frozenset)
    monkeypatch.setattr(module, "has_fast_bfloat16", lambda device: False)
    choice = fastest_precision(CONFIG, num_rows=4)
    assert (choice.name, set(choice.rates)) == ("float32", {"float32"})
    assert choice.rates["float32"] > 0


def test_this_machine_has_a_choice_and_a_gpu_none():
    choice = fastest_precision(CONFIG, num_rows=8)
    assert choice.dtype in PRECISIONS.values()
    assert all(rate > 0 for rate in choice.rates.values())
    assert fastest_precision(CONFIG, num_rows=8, on_gpu=True) == Choice(torch.bfloat16, {}, 8)
    assert str(fastest_precision(CONFIG, num_rows=8, on_gpu=True)) == "bfloat16"
