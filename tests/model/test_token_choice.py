"""Filters against transformers' processors, draws against the softmax, log-probabilities against torch."""

from __future__ import annotations

import pytest
import torch
from scipy import stats
from transformers import MinPLogitsWarper, TopKLogitsWarper, TopPLogitsWarper

from megadocs.model.token_choice import Sampling, choose_tokens, log_probabilities, penalised, uniform_numbers

SETTINGS = [
    Sampling(1.0),
    Sampling(0.7, 5),
    Sampling(1.0, 0, 0.9),
    Sampling(1.3, 0, 1.0, 0.1),
    Sampling(1.0, 40, 0.95, 0.05),
    Sampling(2.0, 30, 0.5, 0.3),
    Sampling(0.5, 1),
]


def filtered_by_transformers(logits_V, sampling):
    scores = logits_V[None] / sampling.temperature
    if sampling.top_k:
        scores = TopKLogitsWarper(min(sampling.top_k, logits_V.shape[0]))(None, scores)
    if sampling.top_p < 1:
        scores = TopPLogitsWarper(sampling.top_p)(None, scores)
    if sampling.min_p:
        scores = MinPLogitsWarper(sampling.min_p)(None, scores)
    return scores[0].softmax(-1)


def logits_of(vocabulary, seed, spread=2.0):
    return torch.randn(vocabulary, generator=torch.Generator().manual_seed(seed)) * spread


@pytest.mark.parametrize("sampling", SETTINGS)
@pytest.mark.parametrize("vocabulary", [12, 100, 6400])
def test_a_draw_falls_among_what_transformers_leaves(sampling, vocabulary):
    """Over a fine grid of uniform numbers every token gets its share of transformers' distribution."""
    logits = logits_of(vocabulary, seed=1)
    expected = filtered_by_transformers(logits, sampling)
    num = 4000
    grid = (torch.arange(num, dtype=torch.float64) + 0.5) / num
    chosen = torch.cat([choose_tokens(logits.expand(500, -1), [sampling] * 500, part) for part in grid.split(500)])
    shares = torch.bincount(chosen, minlength=vocabulary) / num
    assert (shares - expected).abs().max() <= 1.01 / num
    assert not shares[expected == 0].any()


def test_a_frequency_penalty_counts_what_is_written():
    logits = torch.zeros(3, 5)
    samplings = [Sampling(frequency_penalty=0.5), Sampling(), Sampling(frequency_penalty=2.0)]
    with penalised(logits, samplings, [[1, 1, 4], [1, 1, 1], []]):
        assert logits.tolist() == [[0, -1.0, 0, 0, -0.5], [0] * 5, [0] * 5]
    assert not logits.any()


def test_penalised_logits_are_given_back_to_the_bit():
    """The model's own log-probabilities are read from them afterwards, also where the draw ended in an error."""
    logits = logits_of(48 * 6400, 4).view(48, 6400)
    kept, where = logits.clone(), logits.data_ptr()
    generator = torch.Generator().manual_seed(5)
    written = [torch.randint(0, 300, (number * 5,), generator=generator).tolist() for number in range(48)]
    samplings = [Sampling(frequency_penalty=0.3 * (number % 3)) for number in range(48)]
    expected = kept.clone()
    for line, tokens in enumerate(written):
        for token in tokens:
            expected[line, token] -= samplings[line].frequency_penalty
    with pytest.raises(KeyError), penalised(logits, samplings, written):
        assert torch.equal(logits, expected)
        assert not torch.equal(logits, kept)
        assert logits.data_ptr() == where
        raise KeyError
    assert torch.equal(logits, kept)


def test_a_nucleus_beyond_the_first_candidates_is_found():
    logits = torch.zeros(6400)  # nearly flat: 90 % are 5,760 tokens
    logits += logits_of(6400, 2, spread=0.01)
    expected = filtered_by_transformers(logits, Sampling(1.0, 0, 0.9))
    grid = torch.linspace(0, 1 - 1e-9, 300, dtype=torch.float64)
    chosen = choose_tokens(logits.expand(300, -1), [Sampling(1.0, 0, 0.9)] * 300, grid)
    assert (expected[chosen] > 0).all()
    assert len(set(chosen.tolist())) > 290


@pytest.mark.parametrize("sampling", SETTINGS)
def test_frequencies_pass_a_chi_square_test(sampling):
    logits = logits_of(12, seed=3, spread=1.0)
    expected = filtered_by_transformers(logits, sampling).double() * 6000
    uniform = torch.stack([uniform_numbers(seed, 1)[0] for seed in range(6000)])
    chosen = choose_tokens(logits.expand(6000, -1), [sampling] * 6000, uniform)
    counts = torch.bincount(chosen, minlength=12).double()
    kept = expected > 0
    assert counts[~kept].sum() == 0
    if kept.sum() > 1:
        scaled = expected[kept] * counts.sum() / expected[kept].sum()
        assert stats.chisquare(counts[kept].numpy(), scaled.numpy()).pvalue > 1e-3


def test_every_sequence_draws_by_its_own_settings():
    logits = torch.stack([logits_of(6400, seed) for seed in range(8)])
    samplings = [*SETTINGS, Sampling(0.0)]
    uniform = torch.rand(8, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    together = choose_tokens(logits, samplings, uniform)
    for line in range(8):
        alone = choose_tokens(logits[line : line + 1], [samplings[line]], uniform[line : line + 1])
        assert together[line] == alone[0]
    assert together[7] == logits[7].argmax()


def test_log_probabilities():
    logits = torch.stack([logits_of(50, seed) for seed in range(4)])
    tokens = torch.tensor([3, 0, 49, 7])
    expected = torch.log_softmax(logits, -1)[torch.arange(4), tokens]
    torch.testing.assert_close(log_probabilities(logits, tokens), expected)
