"""Loss by position against a loop, and the part of a document past a position."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from megadocs.errors import InputError
from megadocs.evaluate.document_losses import TargetLosses, collect_scores, iter_alone_losses, iter_window_losses
from megadocs.evaluate.evaluation_set import EvaluationSet
from megadocs.evaluate.positions import PositionTotals, iter_past, loss_by_position
from megadocs.evaluate.scoring_model import ScoringModel, as_scoring_model
from megadocs.evaluate.target_losses import SINGLE


def position_teller(vocab_size: int = 61) -> ScoringModel:
    """Token t of every row is t; the model gives token t a loss that grows with t, so losses tell positions."""
    log_p = -torch.arange(vocab_size) / 10.0
    return ScoringModel.from_callable(lambda tokens: log_p.expand(*tokens.shape, vocab_size), vocab_size)


def loss_of(token: np.ndarray) -> np.ndarray:
    return token / 10 + np.log(np.exp(-np.arange(61) / 10.0).sum())


@pytest.fixture
def rows_that_count():
    lengths = [5, 30, 12, 18]
    return EvaluationSet("count", list("abcd"), [np.arange(n) for n in lengths], [4 * (n - 1) for n in lengths])


@pytest.mark.parametrize("mode", ["alone", "windowed"])
def test_every_target_is_counted_at_its_own_position(rows_that_count, mode):
    if mode == "alone":
        batches = list(iter_alone_losses([position_teller()], [SINGLE], rows_that_count, context_length=8, stride=3))
    else:
        batches = list(iter_window_losses([position_teller()], [SINGLE], rows_that_count, context_length=8))
    for batch in batches:
        np.testing.assert_allclose(batch.nll[0], loss_of(batch.position), rtol=1e-5)
    curve = loss_by_position(batches, [0, 4, 16])
    positions = np.concatenate([batch.position for batch in batches])
    for (low, high, mean), count in zip(curve.rows(), curve.num_tokens, strict=True):
        inside = positions[(positions >= low) & (positions < (high or 1000))]
        assert count == len(inside)
        assert mean == pytest.approx(loss_of(inside).mean(), rel=1e-5)
    assert curve.past(4) == pytest.approx(loss_of(positions[positions >= 4]).mean(), rel=1e-5)


def test_default_ranges_double_and_end_with_the_longest_document(rows_that_count):
    curve = loss_by_position(iter_alone_losses([position_teller()], [SINGLE], rows_that_count, context_length=32))
    assert curve.edges.tolist() == [0, 1, 2, 4, 8, 16]
    assert curve.num_tokens.tolist() == [0, 4, 8, 1 + 3 * 4, 8 + 4 + 8, 14 + 2]
    assert curve.rows()[0] == (0, 1, None)


def test_scores_past_a_position_count_their_share_of_the_bytes(rows_that_count):
    batches = iter_alone_losses([position_teller()], [SINGLE], rows_that_count, context_length=8)
    scores = collect_scores(rows_that_count, "alone", iter_past(batches, 10), 1)[0]
    assert scores.num_tokens.tolist() == [0, 20, 2, 8]
    assert scores.num_bytes.tolist() == [0, 80, 8, 32]  # four bytes a target in these rows
    assert scores.sum_nll[2] == pytest.approx(loss_of(np.array([10, 11])).sum(), rel=1e-5)


def test_context_says_how_much_a_target_saw(hf_llama, make_set):
    batches = list(
        iter_alone_losses([as_scoring_model(hf_llama)], [SINGLE], make_set([50]), context_length=16, stride=4)
    )
    context, position = (np.concatenate([getattr(b, name) for b in batches]) for name in ("context", "position"))
    assert context[position >= 16].min() == 12
    np.testing.assert_array_equal(context[position < 16], position[position < 16])


def test_bad_edges(rows_that_count):
    with pytest.raises(InputError, match="ascend"):
        loss_by_position([], [0, 3, 3])
    with pytest.raises(InputError, match="no range starts at 5"):
        loss_by_position([], [0, 3]).past(5)


def test_short_and_long_documents_apart(make_set):
    short, long = make_set([5, 30, 12, 18]).short_and_long(15)
    assert (short.name, long.name) == ("test_short", "test_long")
    assert [len(row) for row in short.rows] == [5, 12]
    assert [len(row) for row in long.rows] == [30, 18]
    assert make_set([5]).short_and_long(15)[1] is None


def test_several_averages_are_added_up_side_by_side():
    batch = TargetLosses(
        document=np.array([0, 0, 1]),
        position=np.array([1, 5, 1]),
        context=np.array([1, 5, 1]),
        nll=np.array([[1.0, 2.0, 3.0], [10.0, 20.0, 30.0]], dtype=np.float32),
    )
    totals = PositionTotals(2, [0, 4])
    totals.add(batch)
    totals.add(batch)
    first, second = totals.curves()
    assert first.rows() == [(0, 4, 2.0), (4, None, 2.0)]
    assert second.rows() == [(0, 4, 20.0), (4, None, 20.0)]


def test_ranges_that_were_asked_for_stay_without_targets():
    batch = TargetLosses(np.array([0]), np.array([1]), np.array([1]), np.array([[1.0]], dtype=np.float32))
    totals = PositionTotals(1, [0, 4, 16])
    totals.add(batch)
    assert [row[:2] for row in totals.curves()[0].rows()] == [(0, 4), (4, 16), (16, None)]
    own = PositionTotals(1)
    own.add(batch)
    assert own.curves()[0].edges.tolist() == [0, 1]  # of our own making: they end with the targets


def batch_of(document, position, *lines):
    places = np.array(position)
    return TargetLosses(np.array(document), places, places + 3, np.array(lines, dtype=np.float32))


@pytest.mark.parametrize("edges", [[], [1, 4], [0, 4, 4], [0, 4, 3]])
def test_edges_that_are_refused_in_full(edges):
    with pytest.raises(InputError) as caught:
        PositionTotals(1, edges)
    assert str(caught.value) == f"edges {edges}\n  to do: ranges start at 0 and ascend"


def test_the_default_ranges_whole():
    curve = PositionTotals(1).curves()[0]
    assert curve.edges.tolist() == [0, *(2**power for power in range(31))]
    np.testing.assert_array_equal(curve.num_tokens, np.zeros(32, dtype=np.int64), strict=True)
    np.testing.assert_array_equal(curve.sum_nll, np.zeros(32), strict=True)
    assert curve.edges.dtype == np.int64


def test_a_position_at_an_edge_belongs_to_the_range_that_it_starts():
    totals = PositionTotals(2, [0, 4, 16])
    totals.add(batch_of([0, 0, 1, 1], [3, 4, 15, 16], [1, 2, 4, 8], [10, 20, 40, 80]))
    first, second = totals.curves()
    assert first.rows() == [(0, 4, 1.0), (4, 16, 3.0), (16, None, 8.0)]
    assert second.rows() == [(0, 4, 10.0), (4, 16, 30.0), (16, None, 80.0)]
    assert first.num_tokens.tolist() == second.num_tokens.tolist() == [1, 2, 1]
    assert (first.past(0), first.past(4), first.past(16)) == (15 / 4, 14 / 3, 8.0)


def test_past_a_range_without_targets_there_is_no_mean():
    curve = loss_by_position([batch_of([0], [2], [1.0])], [0, 4])
    assert curve.past(4) is None
    assert curve.past(0) == 1.0
    with pytest.raises(InputError) as caught:
        curve.past(3)
    assert str(caught.value) == "no range starts at 3\n  to do: one of [0, 4]"


def test_one_curve_is_that_of_the_first_average():
    curve = loss_by_position([batch_of([0, 0], [1, 9], [1, 2], [10, 20]), batch_of([1], [8], [4], [40])])
    assert curve.rows() == [(0, 1, None), (1, 2, 1.0), (2, 4, None), (4, 8, None), (8, None, 3.0)]


def test_the_late_targets_of_a_batch_whole():
    (late,) = iter_past([batch_of([0, 0, 1], [2, 5, 4], [1, 2, 4], [10, 20, 40])], 4)
    assert late.document.tolist() == [0, 1]
    assert late.position.tolist() == [5, 4]
    assert late.context.tolist() == [8, 7]
    assert late.nll.tolist() == [[2.0, 4.0], [20.0, 40.0]]
