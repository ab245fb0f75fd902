"""Our Llama and transformers' are scored alike, and a model in training is left as it was."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from megadocs.errors import InputError
from megadocs.evaluate.document_losses import score_documents, score_windows
from megadocs.evaluate.scoring_model import as_scoring_model
from megadocs.model.llama import build_model
from megadocs.recipe import ModelConfig


@pytest.fixture(scope="module")
def own_llama():
    return build_model(ModelConfig(preset="tiny", hidden_size=32, num_hidden_layers=2), 61, 128, seed=0)


def test_what_is_no_model_is_named():
    with pytest.raises(InputError, match=r"^Linear is not a model that can be scored"):
        as_scoring_model(torch.nn.Linear(2, 2))


@pytest.mark.parametrize("dtype, tolerance", [("float32", 1e-5), ("bfloat16", 0.02)])
def test_own_model_loses_what_its_training_loss_says(own_llama, make_set, dtype, tolerance):
    data = make_set([20, 31, 7, 44])
    scores = score_windows(as_scoring_model(own_llama, dtype=dtype), data, context_length=16, order="given")
    stream = np.concatenate(data.rows).astype(np.int64)
    windows = torch.from_numpy(stream[: len(stream) // 16 * 16].reshape(-1, 16))
    expected = own_llama(windows, loss_scale=1 / (len(windows) * 15)).item()
    assert scores.nats_per_token == pytest.approx(expected, abs=tolerance)


def test_the_compute_type_of_a_model_in_use_is_put_back(own_llama, make_set):
    own_llama.compute_dtype = torch.float32
    score_documents(as_scoring_model(own_llama, dtype="bfloat16"), make_set([9]), context_length=8)
    assert own_llama.compute_dtype is torch.float32


def test_bfloat16_stays_close_to_float32(hf_llama, make_set):
    data = make_set([40] * 10)
    a, b = (
        score_windows(as_scoring_model(hf_llama, dtype=d), data, context_length=32) for d in ("float32", "bfloat16")
    )
    assert 0 < abs(a.nats_per_token - b.nats_per_token) < 0.02
