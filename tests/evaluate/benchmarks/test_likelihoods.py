"""Log-likelihoods of continuations against transformers, request by request."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from megadocs.errors import InputError
from megadocs.evaluate.benchmarks.likelihoods import TokenPair, score_pairs
from megadocs.evaluate.ensembles import build_averages
from megadocs.evaluate.scoring_model import ScoringModel, as_scoring_model
from megadocs.evaluate.target_losses import SINGLE, Average


def build_pairs(seed: int, num_pairs: int = 40) -> list[TokenPair]:
    """Random requests; several share a context, some are beginnings of others, some come twice."""
    rng = np.random.default_rng(seed)
    pairs = []
    for _ in range(num_pairs // 4):
        context = tuple(rng.integers(3, 61, rng.integers(1, 30)).tolist())
        long = tuple(rng.integers(3, 61, 5).tolist())
        pairs += [
            TokenPair(context, long),
            TokenPair(context, long[:2]),
            TokenPair(context, (7,)),
            TokenPair(context, long),
        ]
    return pairs


def direct(models, kind: str, pair: TokenPair) -> tuple[float, bool]:
    tokens = torch.tensor(pair.context + pair.continuation)
    with torch.no_grad():
        logits = torch.stack([model(tokens[None]).logits[0].double() for model in models])
    n = len(pair.continuation)
    if kind == "logits":
        log_p = torch.log_softmax(logits.mean(dim=0), dim=-1)
    else:
        log_p = torch.softmax(logits, dim=-1).mean(dim=0).log()
    log_p, targets = log_p[-n - 1 : -1], tokens[-n:]
    return log_p.gather(1, targets[:, None]).sum().item(), bool((log_p.argmax(dim=-1) == targets).all())


@pytest.mark.parametrize("batch_tokens", [1, 64, 4096])
def test_each_request_equals_a_pass_of_its_own(hf_llama, batch_tokens):
    pairs = build_pairs(0)
    result = score_pairs([as_scoring_model(hf_llama)], [SINGLE], pairs, batch_tokens=batch_tokens, want_greedy=True)
    expected = [direct([hf_llama], "logits", pair) for pair in pairs]
    np.testing.assert_allclose(result.log_likelihoods[0], [e[0] for e in expected], rtol=1e-5)
    assert result.is_greedy is not None
    assert result.is_greedy[0].tolist() == [e[1] for e in expected]


def test_what_is_greedy_is_known_as_greedy(hf_llama):
    with torch.no_grad():
        best = int(hf_llama(torch.tensor([[5, 6, 7]])).logits[0, -1].argmax())
    pairs = [TokenPair((5, 6, 7), (best,)), TokenPair((5, 6, 7), ((best + 1) % 61,))]
    result = score_pairs([as_scoring_model(hf_llama)], [SINGLE], pairs, want_greedy=True)
    assert result.is_greedy is not None
    assert result.is_greedy[0].tolist() == [True, False]


def test_ensembles_average_per_token(hf_members):
    pairs, members = build_pairs(1, 12), hf_members[:3]
    averages = build_averages(3)
    result = score_pairs([as_scoring_model(m) for m in members], averages, pairs, want_greedy=True)
    for a, average in enumerate(averages):
        chosen = [members[k] for k in average.members]
        expected = [direct(chosen, average.kind, pair) for pair in pairs]
        np.testing.assert_allclose(result.log_likelihoods[a], [e[0] for e in expected], rtol=1e-5)
        assert result.is_greedy is not None
        assert result.is_greedy[a].tolist() == [e[1] for e in expected]


def test_shared_beginnings_run_once():
    windows = []

    def logits(tokens: torch.Tensor) -> torch.Tensor:
        windows.extend(tokens.tolist())
        return torch.zeros(*tokens.shape, 61)

    context = (4, 5, 6)
    pairs = [TokenPair(context, c) for c in ((7,), (8,), (9, 10), (9, 10, 11), (12,))]
    result = score_pairs([ScoringModel.from_callable(logits, 61)], [SINGLE], pairs)
    assert windows == [[4, 5, 6, 9, 10]]
    np.testing.assert_allclose(result.log_likelihoods[0], -np.log(61) * np.array([1, 1, 2, 3, 1]), rtol=1e-6)


def test_a_request_beyond_the_context_loses_its_left(hf_llama):
    long = tuple(np.random.default_rng(2).integers(3, 61, 200).tolist())
    result = score_pairs([as_scoring_model(hf_llama)], [SINGLE], [TokenPair(long, (5, 6)), TokenPair((4,), (5,))])
    assert result.is_truncated.tolist() == [True, False]
    expected, _ = direct([hf_llama], "logits", TokenPair(long[-127:], (5, 6)))
    assert result.log_likelihoods[0, 0] == pytest.approx(expected, rel=1e-5)


def test_bad_requests(hf_llama):
    model = as_scoring_model(hf_llama)
    with pytest.raises(InputError, match="no context token"):
        score_pairs([model], [SINGLE], [TokenPair((), (1,))])
    with pytest.raises(InputError, match="holds token 61, but the model has 61"):
        score_pairs([model], [SINGLE], [TokenPair((1,), (61,))])
    with pytest.raises(InputError, match="names member 1 of 1"):
        score_pairs([model], [Average((0, 1))], [TokenPair((1,), (2,))])
