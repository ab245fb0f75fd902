"""The cached decoder against full forward passes and transformers' greedy text; seeds, padding, ends."""

from __future__ import annotations

import pytest
import torch

from megadocs.errors import InputError
from megadocs.model import build_model, export_hf
from megadocs.model.sampling import sample
from megadocs.model.token_choice import Sampling, choose_tokens
from megadocs.recipe.training import ModelConfig

SHAPE = {"hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 4}


def small_model(**changes):
    model = build_model(ModelConfig(**(SHAPE | changes)), 60, 64, seed=0)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.mul_(2)
    return model


def greedy_by_full_passes(model, prompt, num_tokens):
    tokens = list(prompt)
    for _ in range(num_tokens):
        tokens.append(int(model(torch.tensor([tokens]))[0, -1].argmax()))
    return tokens[len(prompt) :]


@pytest.mark.parametrize("kv_heads", [4, 2, 1])
def test_greedy_equals_full_passes_for_prompts_of_any_length(kv_heads):
    model = small_model(num_key_value_heads=kv_heads)
    prompts = [[5], [7, 9, 11, 2], list(range(20))]
    samples = sample(model, prompts, max_new_tokens=12, temperature=0.0, seeds=[0, 0, 0])
    for prompt, got in zip(prompts, samples, strict=True):
        assert got.tokens == greedy_by_full_passes(model, prompt, 12)
        assert not got.finished


def test_greedy_equals_transformers(tmp_path):
    from transformers import LlamaForCausalLM

    model = small_model(num_key_value_heads=2)
    export_hf(model, tmp_path / "m")
    reference = LlamaForCausalLM.from_pretrained(tmp_path / "m", dtype=torch.float32)
    prompt = torch.tensor([[3, 1, 4, 1, 5]])
    expected = reference.generate(prompt, max_new_tokens=20, do_sample=False, pad_token_id=0, eos_token_id=None)
    assert (
        sample(model, prompt.tolist(), max_new_tokens=20, temperature=0.0, seeds=[0])[0].tokens
        == expected[0, 5:].tolist()
    )


def test_a_seed_gives_the_same_text_alone_and_in_company():
    model = small_model()
    alone = sample(model, [[1, 2]], max_new_tokens=15, seeds=[11])
    together = sample(model, [[4], [1, 2], [9, 9, 9]], max_new_tokens=15, seeds=[5, 11, 7])
    assert together[1] == alone[0]
    assert sample(model, [[1, 2]], max_new_tokens=15, seeds=[12]) != alone


def test_frequencies_are_the_models_probabilities():
    model = small_model()
    expected = model(torch.tensor([[1, 2]]))[0, -1].div(0.7).softmax(-1)
    drawn = sample(model, [[1, 2]] * 4000, max_new_tokens=1, temperature=0.7, seeds=range(4000))
    counts = torch.bincount(torch.tensor([one.tokens[0] for one in drawn]), minlength=60) / 4000
    assert (counts - expected).abs().max() < 4 * (0.25 / 4000) ** 0.5


@pytest.mark.parametrize("vocabulary", [60, 128, 1000])
def test_a_draw_is_where_its_number_falls_among_all_cumulated_probabilities(vocabulary):
    logits = torch.randn(500, vocabulary, generator=torch.Generator().manual_seed(0)) * 3
    uniform = torch.linspace(0, 1 - 1e-9, 500, dtype=torch.float64)
    cumulated = (logits / 0.8).double().softmax(-1).cumsum(-1)
    chosen = choose_tokens(logits, [Sampling(0.8)] * len(uniform), uniform)
    before = torch.where(chosen > 0, cumulated.gather(1, (chosen - 1).clamp_min(0)[:, None])[:, 0], 0.0)
    after = cumulated.gather(1, chosen[:, None])[:, 0]
    assert ((before - 1e-6 <= uniform) & (uniform <= after + 1e-6)).all()


def test_the_end_token_ends_one_sequence_and_is_not_part_of_it():
    model = small_model()
    free = sample(model, [[1], [2]], max_new_tokens=10, temperature=0.0, seeds=[0, 0])
    eos = free[0].tokens[3]
    ended = sample(model, [[1], [2]], max_new_tokens=10, temperature=0.0, seeds=[0, 0], eos_id=eos)
    assert ended[0].tokens == free[0].tokens[: free[0].tokens.index(eos)]
    assert ended[0].finished
    assert eos not in ended[1].tokens


def test_what_cannot_be_sampled_is_refused():
    model = small_model()
    for prompts, seeds in (([], []), ([[]], [1]), ([[1]], [1, 2])):
        with pytest.raises(InputError, match="as many seeds"):
            sample(model, prompts, max_new_tokens=1, seeds=seeds)
    with pytest.raises(InputError, match="64 positions"):
        sample(model, [[1] * 60], max_new_tokens=5, seeds=[0])


def test_identical_members_are_the_member_under_both_averages():
    model = small_model()
    alone = sample(model, [[1, 2]] * 3, max_new_tokens=12, seeds=[1, 2, 3])
    for mix in ("logits", "probabilities"):
        assert sample([model, model], [[1, 2]] * 3, max_new_tokens=12, seeds=[1, 2, 3], mix=mix) == alone


@pytest.mark.parametrize("mix", ["logits", "probabilities"])
def test_frequencies_of_a_mix_are_its_mean(mix):
    pair = [small_model(), small_model(num_key_value_heads=2)]
    logits = torch.stack([model(torch.tensor([[1, 2]]))[0, -1] for model in pair])
    expected = logits.mean(0).softmax(-1) if mix == "logits" else logits.softmax(-1).mean(0)
    drawn = sample(pair, [[1, 2]] * 4000, max_new_tokens=1, seeds=range(4000), mix=mix)
    counts = torch.bincount(torch.tensor([one.tokens[0] for one in drawn]), minlength=60) / 4000
    assert (counts - expected).abs().max() < 4 * (0.25 / 4000) ** 0.5


def test_ended_sequences_leave_and_the_others_go_on_as_before():
    model = small_model()
    prompts = [[1], [2], [3], [4], [5], [6]]
    free = sample(model, prompts, max_new_tokens=20, seeds=range(6))
    eos = free[0].tokens[4]
    ended = sample(model, prompts, max_new_tokens=20, seeds=range(6), eos_id=eos)
    for before, after in zip(free, ended, strict=True):
        stop = before.tokens.index(eos) if eos in before.tokens else 20
        assert after.tokens == before.tokens[:stop]
        assert after.finished == (eos in before.tokens)


def test_models_of_two_vocabularies_cannot_be_mixed():
    other = build_model(ModelConfig(**SHAPE), 61, 64, seed=0)
    with pytest.raises(InputError, match="different vocabularies"):
        sample([small_model(), other], [[1]], max_new_tokens=1, seeds=[0])
