"""Parts of a step from the memory there is; errors that name what fits."""

from __future__ import annotations

import pytest
import torch

from megadocs.errors import TrainingError
from megadocs.model import resolve_config
from megadocs.recipe.training import ModelConfig
from megadocs.train import micro_batch
from megadocs.train.micro_batch import activation_bytes, choose_micro_batch, state_bytes
from train.runs import MODEL, VOCAB, train_config

CPU = torch.device("cpu")
SHAPE = resolve_config(MODEL, vocab_size=VOCAB, context_length=16)


def test_takes_all_rows_where_they_fit_and_no_more_than_the_cache_likes(monkeypatch):
    assert choose_micro_batch(train_config(), SHAPE, rows=4, device=CPU) == 4
    monkeypatch.setattr(micro_batch, "CPU_TOKENS", 48)
    assert choose_micro_batch(train_config(), SHAPE, rows=4, device=CPU) == 2  # two passes of two, not three and one
    assert choose_micro_batch(train_config(), SHAPE, rows=7, device=CPU) == 3


def test_the_optimiser_the_gradients_and_the_loss_keep_their_memory():
    shape = resolve_config(ModelConfig(preset="1_5b"), vocab_size=128_256, context_length=4096)
    whole = state_bytes(train_config(), shape, torch.device("cuda"), num_ranks=8)
    assert 25e9 < whole < 35e9  # 1.5B parameters: 18 GB of gradients and moments, 3 of cast weights, 7 of loss
    averaged = state_bytes(train_config(ema_decay=0.9), shape, torch.device("cuda"), num_ranks=8)
    assert averaged - whole == 4 * shape.num_parameters
    sharded = state_bytes(train_config(parallel="fsdp"), shape, torch.device("cuda"), num_ranks=8)
    assert whole - sharded == pytest.approx(12 * shape.num_parameters * 7 / 8, abs=8)


def test_little_memory_gives_smaller_parts_or_an_error_naming_them(monkeypatch):
    one = activation_bytes(SHAPE, 16, "bfloat16", CPU)
    state = state_bytes(train_config(dtype="bfloat16"), SHAPE, CPU, num_ranks=1)
    monkeypatch.setattr(micro_batch, "free_bytes", lambda device: int(2.5 * one / 0.8) + state)
    assert choose_micro_batch(train_config(dtype="bfloat16"), SHAPE, rows=4, device=CPU) == 2
    with pytest.raises(TrainingError) as caught:
        choose_micro_batch(train_config(micro_batch_size=4, dtype="bfloat16"), SHAPE, rows=4, device=CPU)
    assert caught.value.remedy == "use train.micro_batch_size=2"
    monkeypatch.setattr(micro_batch, "free_bytes", lambda device: 10)
    with pytest.raises(TrainingError, match="1 windows of 16 tokens need"):
        choose_micro_batch(train_config(dtype="bfloat16"), SHAPE, rows=4, device=CPU)
