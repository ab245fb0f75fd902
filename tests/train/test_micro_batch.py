"""Parts of a step from the memory there is; errors that name what fits."""

from __future__ import annotations

import pytest
import torch

from megadocs.errors import TrainingError
from megadocs.model import resolve_config
from megadocs.train import micro_batch
from megadocs.train.micro_batch import activation_bytes, choose_micro_batch
from train.runs import MODEL, VOCAB, train_config

CPU = torch.device("cpu")
SHAPE = resolve_config(MODEL, vocab_size=VOCAB, context_length=16)


def test_takes_all_rows_where_they_fit_and_no_more_than_the_cache_likes(monkeypatch):
    assert choose_micro_batch(train_config(), SHAPE, rows=4, device=CPU) == 4
    monkeypatch.setattr(micro_batch, "CPU_TOKENS", 48)
    assert choose_micro_batch(train_config(), SHAPE, rows=4, device=CPU) == 3


def test_little_memory_gives_smaller_parts_or_an_error_naming_them(monkeypatch):
    one = activation_bytes(SHAPE, 16, "bfloat16", CPU)
    monkeypatch.setattr(micro_batch, "free_bytes", lambda device: int(2.5 * one / 0.8))
    assert choose_micro_batch(train_config(), SHAPE, rows=4, device=CPU) == 2
    with pytest.raises(TrainingError) as caught:
        choose_micro_batch(train_config(micro_batch_size=4), SHAPE, rows=4, device=CPU)
    assert caught.value.remedy == "use train.micro_batch_size=2"
    monkeypatch.setattr(micro_batch, "free_bytes", lambda device: 10)
    with pytest.raises(TrainingError, match="1 windows of 16 tokens need"):
        choose_micro_batch(train_config(), SHAPE, rows=4, device=CPU)
