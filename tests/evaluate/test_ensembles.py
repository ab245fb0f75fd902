"""Averages against closed forms and against transformers' logits averaged by hand."""

from __future__ import annotations

import dataclasses
import itertools
from typing import get_args

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from megadocs.errors import InputError
from megadocs.evaluate.document_losses import score_documents, score_windows
from megadocs.evaluate.ensembles import (
    EnsembleScores,
    SizeLoss,
    Subsets,
    build_averages,
    losses_by_size,
    score_ensemble_documents,
    score_ensemble_windows,
    write_ensemble_scores,
)
from megadocs.evaluate.evaluation_set import EvaluationSet
from megadocs.evaluate.scores import DocumentScores
from megadocs.evaluate.scoring_model import ScoringModel, as_scoring_model
from megadocs.evaluate.target_losses import SINGLE, Average
from numbered_model import NumberedModel

LENGTHS = [20, 33, 9, 41]


def constant_model(probabilities: list[float]) -> ScoringModel:
    log_p = torch.log(torch.tensor(probabilities))
    return ScoringModel.from_callable(lambda tokens: log_p.expand(*tokens.shape, len(log_p)), len(log_p))


def test_closed_forms_of_two_known_distributions():
    """p = (3/4, 1/4), q = (1/4, 3/4): both averages are uniform; with r = (1/10, 9/10) they differ as computed."""
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


def test_every_average_in_order():
    assert build_averages(2) == [
        Average((0,), "logits"),
        Average((0,), "probabilities"),
        Average((0, 1), "logits"),
        Average((0, 1), "probabilities"),
    ]
    assert build_averages(2, "all") == [
        Average((0,), "logits"),
        Average((1,), "logits"),
        Average((0,), "probabilities"),
        Average((1,), "probabilities"),
        Average((0, 1), "logits"),
        Average((0, 1), "probabilities"),
    ]
    assert len(build_averages(8, "all")) == 2 * 255
    assert len(build_averages(9)) == 18


@pytest.mark.parametrize(
    "arguments, error",
    [
        ((0,), "an ensemble has at least one member\n  to do: name its members"),
        ((9, "all"), "511 subsets of 9 members\n  to do: use prefixes, or at most 8 members"),
    ],
)
def test_ensembles_that_are_refused_in_full(arguments, error):
    with pytest.raises(InputError) as caught:
        build_averages(*arguments)
    assert str(caught.value) == error


def numbered_set():
    rows = [(np.arange(start, start + n) % 13).astype(np.uint16) for start, n in ((0, 9), (5, 4), (2, 20))]
    return EvaluationSet("held", ["a", "b", "c"], rows, [20, 9, 41])


def assert_same(found, expected):
    assert (found.set, found.mode, found.num_dropped_tokens) == (
        expected.set,
        expected.mode,
        expected.num_dropped_tokens,
    )
    assert list(found.document_ids) == list(expected.document_ids)
    np.testing.assert_array_equal(found.num_tokens, expected.num_tokens, strict=True)
    np.testing.assert_array_equal(found.num_bytes, expected.num_bytes, strict=True)
    np.testing.assert_allclose(found.sum_nll, expected.sum_nll, rtol=1e-6, strict=True)


@pytest.mark.parametrize(
    "settings", [{}, {"order": "given"}, {"batch_size": 2}, {"order": "hash", "batch_size": 100}], ids=str
)
def test_windows_of_an_ensemble_are_those_of_its_members(settings):
    """With the settings of `score_windows`, and its defaults."""
    members, apart = [NumberedModel(0), NumberedModel(4)], [NumberedModel(0), NumberedModel(4)]
    results = score_ensemble_windows(
        [member.scoring_model() for member in members], numbered_set(), context_length=4, subsets="all", **settings
    )
    assert [result.average for result in results] == build_averages(2, "all")
    for place, one in enumerate(apart):
        expected = score_windows(one.scoring_model(), numbered_set(), context_length=4, **settings)
        assert one.batches == members[place].batches
        assert_same(results[place].scores, expected)
        assert expected.num_dropped_tokens == 1


@pytest.mark.parametrize("settings", [{}, {"stride": 1}, {"batch_size": 2}, {"start_id": 12}], ids=str)
def test_documents_of_an_ensemble_are_those_of_its_members(settings):
    members, apart = [NumberedModel(0), NumberedModel(4)], [NumberedModel(0), NumberedModel(4)]
    results = score_ensemble_documents(
        [member.scoring_model() for member in members], numbered_set(), context_length=4, subsets="all", **settings
    )
    assert [result.average for result in results] == build_averages(2, "all")
    for place, one in enumerate(apart):
        expected = score_documents(one.scoring_model(), numbered_set(), context_length=4, **settings)
        assert one.batches == members[place].batches
        assert_same(results[place].scores, expected)


@pytest.mark.parametrize("score", [score_ensemble_windows, score_ensemble_documents])
def test_an_ensemble_is_scored_at_every_size_and_32_windows_at_once_unless_told_otherwise(score):
    members = [NumberedModel(0), NumberedModel(4)]
    data = EvaluationSet("held", [str(n) for n in range(40)], [np.arange(4)] * 40, [4] * 40)
    results = score([member.scoring_model() for member in members], data, context_length=4)
    assert [result.average for result in results] == build_averages(2)
    assert [len(batch) for batch in members[1].batches] == [32, 8]


def table(set_name, average, nll, mode="alone", ids=("b", "a")):
    return EnsembleScores(
        average, DocumentScores(set_name, mode, ids, np.array([2, 4]), np.array([5, 7]), np.array(nll))
    )


def test_the_curve_whole():
    """Per six tokens: the sample's standard deviation where there are two subsets or more."""
    results = [
        table("t", Average((1, 2), "probabilities"), [3.0, 3.0]),
        table("t", Average((0,), "logits"), [2.0, 4.0]),
        table("t", Average((1,), "logits"), [6.0, 12.0]),
        table("t", Average((0, 1), "logits"), [6.0, 6.0]),
    ]
    assert losses_by_size(results) == [
        SizeLoss("logits", 1, 2, 2.0, 2**0.5),
        SizeLoss("logits", 2, 1, 2.0, None),
        SizeLoss("probabilities", 2, 1, 1.0, None),
    ]


def columns(path):
    """Name -> type; releases of pyarrow call what a list holds by two names."""
    return {field.name: str(field.type).replace("item", "element") for field in pq.read_table(path).schema}


COLUMNS = {
    "set": "string",
    "mode": "string",
    "average": "string",
    "members": "list<element: int32>",
    "document_id": "string",
    "num_tokens": "int64",
    "num_bytes": "int64",
    "sum_nll": "double",
}


def test_the_file_whole(tmp_path):
    """By set, mode, kind, members and document, whatever the order they come in."""
    results = [
        table("t", Average((1,)), [0.5, 0.25]),
        table("t", Average((0, 2), "probabilities"), [1.0, 2.0]),
        table("t", Average((0, 2)), [3.0, 4.0]),
        table("s", Average((0,)), [5.0, 6.0], mode="windowed"),
        table("s", Average((0,)), [7.0, np.nan]),
    ]
    write_ensemble_scores(tmp_path / "one", results)
    write_ensemble_scores(tmp_path / "two", results[::-1])
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
    found = pq.read_table(tmp_path / "one")
    assert columns(tmp_path / "one") == COLUMNS
    lines = [tuple(line.values()) for line in found.to_pylist()]
    assert [line[-1] for line in lines if line[-1] != line[-1]] and np.isnan(lines[0][-1])
    lines[0] = (*lines[0][:-1], None)
    assert lines == [
        ("s", "alone", "logits", [0], "a", 4, 7, None),
        ("s", "alone", "logits", [0], "b", 2, 5, 7.0),
        ("s", "windowed", "logits", [0], "a", 4, 7, 6.0),
        ("s", "windowed", "logits", [0], "b", 2, 5, 5.0),
        ("t", "alone", "logits", [0, 2], "a", 4, 7, 4.0),
        ("t", "alone", "logits", [0, 2], "b", 2, 5, 3.0),
        ("t", "alone", "logits", [1], "a", 4, 7, 0.25),
        ("t", "alone", "logits", [1], "b", 2, 5, 0.5),
        ("t", "alone", "probabilities", [0, 2], "a", 4, 7, 2.0),
        ("t", "alone", "probabilities", [0, 2], "b", 2, 5, 1.0),
    ]
    group = pq.ParquetFile(tmp_path / "one").metadata.row_group(0)
    assert {group.column(index).compression for index in range(group.num_columns)} == {"ZSTD"}


def test_a_file_of_no_scores_has_the_same_columns(tmp_path):
    write_ensemble_scores(tmp_path / "none", [])
    assert columns(tmp_path / "none") == COLUMNS


@pytest.mark.parametrize("column", ["num_tokens", "num_bytes", "sum_nll", "document_ids"])
def test_columns_of_different_lengths_are_refused(tmp_path, column):
    whole = table("t", SINGLE, [1.0, 2.0])
    cut = dataclasses.replace(whole.scores, **{column: getattr(whole.scores, column)[:1]})
    with pytest.raises(ValueError, match="zip"):
        write_ensemble_scores(tmp_path / "s", [EnsembleScores(SINGLE, cut)])
    assert not (tmp_path / "s").exists()


def test_each_choice_of_subsets_has_averages_of_its_own():
    assert {subsets: len(build_averages(3, subsets)) for subsets in get_args(Subsets)} == {"prefixes": 6, "all": 14}
