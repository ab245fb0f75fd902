"""The forward pass against transformers, initialisation, boundaries between rows."""

from __future__ import annotations

import pytest
import torch

from megadocs.model import Llama, LlamaConfig, build_model, export_hf
from megadocs.recipe.training import ModelConfig


def small_config(**changes):
    fields = {
        "vocab_size": 61,
        "hidden_size": 48,
        "intermediate_size": 80,
        "num_hidden_layers": 3,
        "num_attention_heads": 6,
        "num_key_value_heads": 6,
        "head_dim": 8,
        "max_position_embeddings": 32,
    }
    return LlamaConfig(**(fields | changes))


def random_model(config, seed=0):
    torch.manual_seed(seed)
    model = Llama(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(std=0.3)
    return model


LLAMA3 = {
    "rope_type": "llama3",
    "factor": 4.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 16,
}


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"num_key_value_heads": 2},
        {"tie_word_embeddings": True},
        {"head_dim": 16},
        {"rope_theta": 500_000.0, "rope_scaling": LLAMA3},
        {"rope_scaling": {"rope_type": "linear", "factor": 2.0}},
    ],
    ids=["plain", "grouped", "tied", "wide heads", "llama3", "linear"],
)
def test_logits_equal_transformers(changes, tmp_path):
    from transformers import LlamaForCausalLM

    model = random_model(small_config(**changes))
    export_hf(model, tmp_path / "model", bos_id=1, eos_id=2)
    reference = LlamaForCausalLM.from_pretrained(tmp_path / "model", dtype=torch.float32)
    tokens = torch.randint(0, 61, (2, 32), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        expected, got = reference(tokens).logits, model(tokens)
    assert torch.allclose(got, expected, atol=1e-5 * float(expected.abs().max()), rtol=0)


def test_loss_and_gradients_equal_transformers(tmp_path):
    from transformers import LlamaForCausalLM

    model = random_model(small_config())
    export_hf(model, tmp_path / "model")
    reference = LlamaForCausalLM.from_pretrained(tmp_path / "model", dtype=torch.float32)
    tokens = torch.randint(0, 61, (3, 17), generator=torch.Generator().manual_seed(1))
    reference(tokens, labels=tokens).loss.backward()
    loss = model(tokens, loss_scale=1 / (3 * 16))
    loss.backward()
    assert loss.item() == pytest.approx(reference(tokens, labels=tokens).loss.item(), abs=1e-5)
    gradients = dict(reference.named_parameters())
    for name, parameter in model.named_parameters():
        expected = gradients[name].grad
        assert torch.allclose(parameter.grad, expected, atol=1e-4 * float(expected.abs().max()), rtol=1e-4), name


def test_token_losses_are_minus_log_softmax():
    model = random_model(small_config())
    tokens = torch.randint(0, 61, (2, 9), generator=torch.Generator().manual_seed(1))
    expected = -model(tokens).log_softmax(-1)[:, :-1].gather(2, tokens[:, 1:, None]).squeeze(2)
    assert torch.allclose(model.token_losses(tokens), expected, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_boundary_makes_a_row_blind_to_the_one_before(dtype):
    model = random_model(small_config())
    model.compute_dtype = dtype
    tokens = torch.randint(0, 61, (1, 12), generator=torch.Generator().manual_seed(1))
    other = tokens.clone()
    other[0, :5] = (other[0, :5] + 7) % 61
    segments = torch.tensor([[0] * 5 + [1] * 7])
    apart, apart_other = model(tokens, segments), model(other, segments)
    assert torch.equal(apart[0, 5:], apart_other[0, 5:])
    assert not torch.equal(model(tokens)[0, 5:], model(other)[0, 5:])


def test_no_position_sees_a_later_one_in_bfloat16():
    model = random_model(small_config())
    model.compute_dtype = torch.bfloat16
    tokens = torch.randint(0, 61, (1, 12), generator=torch.Generator().manual_seed(1))
    other = tokens.clone()
    other[0, 8:] = (other[0, 8:] + 7) % 61
    assert torch.equal(model(tokens)[0, :8], model(other)[0, :8])


def test_initialisation_follows_the_facts():
    model = build_model(ModelConfig(), vocab_size=2048, context_length=256, seed=3)
    for name, parameter in model.named_parameters():
        if parameter.ndim == 1:
            assert torch.equal(parameter, torch.ones_like(parameter))
            continue
        scale = 1 / 128 if "embed_tokens" in name else parameter.shape[1] ** -0.5
        assert parameter.abs().max() <= 3 * scale
        # A normal cut at 3 sigma has a standard deviation of 0.9866.
        assert parameter.std().item() == pytest.approx(0.9866 * scale, rel=0.02)


def test_weights_depend_on_seed_and_name_only():
    first, again = (build_model(ModelConfig(), 100, 32, seed=5) for _ in range(2))
    deeper = build_model(ModelConfig(num_hidden_layers=6), 100, 64, seed=5)
    other = build_model(ModelConfig(), 100, 32, seed=6)
    deep = dict(deeper.named_parameters())
    for name, parameter in first.named_parameters():
        assert torch.equal(parameter, dict(again.named_parameters())[name])
        assert torch.equal(parameter, deep[name])
    assert not torch.equal(first.lm_head.weight, other.lm_head.weight)
