"""Averages against closed forms and against transformers' logits averaged by hand."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from megadocs.errors import InputError
from megadocs.evaluate.document_losses import score_documents, score_windows
from megadocs.evaluate.ensembles import (
    build_averages,
    losses_by_size,
    score_ensemble_documents,
    score_ensemble_windows,
)
from megadocs.evaluate.scoring_model import ScoringModel, as_scoring_model
from megadocs.evaluate.target_losses import Average

LENGTHS = [20, 33, 9, 41]


def constant_model(probabilities: list[float]) -> ScoringModel:
    log_p = torch.log(torch.tensor(probabilities))
    return ScoringModel.from_callable(lambda tokens: log_p.expand(*tokens.shape, len(log_p)), len(log_p))


def test_closed_forms_of_two_known_distributions():
    """p = (3/4, 1/4), q = (1/4, 3/4): both averages are uniform; with r = (1/10, 9/10) they differ as computed."""
    from megadocs.evaluate.evaluation_set import EvaluationSet

    data = EvaluationSet("hand", ["a"], [np.array([0, 1, 1, 1])], [3])
    members = [constant_model(p) for p in ([0.75, 0.25], [0.25, 0.75], [0.1, 0.9])]
    results = {
        (r.average.members, r.average.kind): np.exp(-r.scores.nats_per_token)
        for r in score_ensemble_windows(members, data, context_length=4, subsets="all")
    }
    assert results[(0, 1), "logits"] == pytest.approx(0.5)
    assert results[(0, 1), "probabilities"] == pytest.approx(0.5)
    assert results[(1, 2), "probabilities"] == pytest.approx((0.75 + 0.9) / 2)
    odds = (3 * 9) ** 0.5  # the geometric mean of the odds
    assert results[(1, 2), "logits"] == pytest.approx(odds / (1 + odds))
    assert results[(0, 1, 2), "probabilities"] == pytest.approx((0.25 + 0.75 + 0.9) / 3)
    odds = (1 / 3 * 3 * 9) ** (1 / 3)
    assert results[(0, 1, 2), "logits"] == pytest.approx(odds / (1 + odds))


def test_both_averages_equal_a_direct_computation_with_transformers(hf_members, make_set):
    data, context = make_set(LENGTHS), 16
    results = score_ensemble_windows(
        [as_scoring_model(m) for m in hf_members], data, context_length=context, subsets="all", order="given"
    )
    stream = np.concatenate(data.rows).astype(np.int64)
    windows = torch.from_numpy(stream[: len(stream) // context * context].reshape(-1, context))
    with torch.no_grad():
        logits = torch.stack([m(windows).logits[:, :-1].double() for m in hf_members])
    targets = windows[:, 1:, None]
    assert len(results) == 2 * 15
    for result in results:
        chosen = logits[list(result.average.members)]
        if result.average.kind == "logits":
            log_p = torch.log_softmax(chosen.mean(dim=0), dim=-1)
        else:
            log_p = torch.softmax(chosen, dim=-1).mean(dim=0).log()
        assert result.scores.nats_per_token == pytest.approx(-log_p.gather(2, targets).mean().item(), abs=1e-5)


def test_identical_members_are_the_member(hf_llama, make_set):
    data, model = make_set(LENGTHS), as_scoring_model(hf_llama)
    single = score_windows(model, data, context_length=16)
    for result in score_ensemble_windows([model] * 3, data, context_length=16):
        np.testing.assert_allclose(result.scores.sum_nll, single.sum_nll, rtol=1e-5)
    alone = score_documents(model, data, context_length=16)
    for result in score_ensemble_documents([model] * 2, data, context_length=16):
        np.testing.assert_allclose(result.scores.sum_nll, alone.sum_nll, rtol=1e-5)
        np.testing.assert_array_equal(result.scores.num_bytes, alone.num_bytes)


def test_members_scored_jointly_are_the_members_scored_apart(hf_members, make_set):
    data, members = make_set(LENGTHS), [as_scoring_model(m) for m in hf_members]
    joint = score_ensemble_windows(members, data, context_length=16, subsets="all")
    singles = [r for r in joint if len(r.average.members) == 1 and r.average.kind == "logits"]
    for member, result in zip(members, singles, strict=True):
        np.testing.assert_array_equal(result.scores.sum_nll, score_windows(member, data, context_length=16).sum_nll)


def test_each_member_runs_once_a_batch_whatever_the_averages(make_set):
    calls = []

    def counting(k: int) -> ScoringModel:
        def logits(tokens: torch.Tensor) -> torch.Tensor:
            calls.append((k, len(tokens)))
            return torch.zeros(*tokens.shape, 61)

        return ScoringModel.from_callable(logits, 61)

    score_ensemble_windows(
        [counting(k) for k in range(3)], make_set([40] * 4), context_length=16, batch_size=4, subsets="all"
    )
    assert sorted(calls) == sorted((k, size) for k in range(3) for size in (4, 4, 2))


def test_sizes_and_subsets():
    prefixes = build_averages(4)
    assert [a.members for a in prefixes if a.kind == "logits"] == [(0,), (0, 1), (0, 1, 2), (0, 1, 2, 3)]
    every = [a.members for a in build_averages(4, "all") if a.kind == "probabilities"]
    assert every == [c for k in range(1, 5) for c in itertools.combinations(range(4), k)]


def test_the_curve_by_size(hf_members, make_set):
    members = [as_scoring_model(m) for m in hf_members[:3]]
    results = score_ensemble_windows(members, make_set(LENGTHS), context_length=16, subsets="all")
    curve = {(row.kind, row.num_members): row for row in losses_by_size(results)}
    pairs = [r.scores.nats_per_token for r in results if r.average.kind == "logits" and len(r.average.members) == 2]
    assert curve["logits", 2].nats_per_token == pytest.approx(np.mean(pairs))
    assert curve["logits", 2].standard_deviation == pytest.approx(np.std(pairs, ddof=1))
    assert curve["logits", 3].standard_deviation is None
    assert curve["probabilities", 3].nats_per_token < curve["probabilities", 1].nats_per_token  # Jensen


def test_members_that_do_not_fit_are_refused(hf_llama, make_set):
    model = as_scoring_model(hf_llama)
    other = constant_model([0.5, 0.5])
    with pytest.raises(InputError, match=r"different vocabularies: \[2, 61\]"):
        score_ensemble_windows([model, other], make_set(LENGTHS), context_length=16)
    with pytest.raises(InputError, match="differ in compute type"):
        score_ensemble_windows([model, as_scoring_model(hf_llama, dtype="bfloat16")], make_set([20]), context_length=16)
    with pytest.raises(InputError, match="at least one member"):
        build_averages(0)
    with pytest.raises(InputError, match="511 subsets"):
        build_averages(9, "all")
    with pytest.raises(ValueError, match="ascending"):
        Average((1, 0))
