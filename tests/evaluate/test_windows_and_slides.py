"""What each forward pass is given, and every target that comes out of it, by hand and by a loop."""

from __future__ import annotations

import numpy as np
import pytest

from megadocs.errors import InputError
from megadocs.evaluate.document_losses import (
    ScoreCollector,
    TargetLosses,
    collect_scores,
    iter_alone_losses,
    iter_window_losses,
    score_documents,
    score_windows,
)
from megadocs.evaluate.evaluation_set import EvaluationSet
from megadocs.evaluate.target_losses import SINGLE, Average
from numbered_model import VOCAB_SIZE, NumberedModel


def set_of(*lengths, name="held"):
    """Rows that count on: 0 1 2, 3 4 5 6, ..."""
    starts = np.cumsum([0, *lengths])
    rows = [
        np.arange(start, start + n, dtype=np.uint16) % VOCAB_SIZE for start, n in zip(starts, lengths, strict=False)
    ]
    return EvaluationSet(name, [f"d{place}" for place in range(len(lengths))], rows, [10 * n for n in lengths])


def lines(batch: TargetLosses, average: int = 0):
    """(document, position, context, nats) of every target; the arrays have the types that they promise."""
    assert [part.dtype for part in (batch.document, batch.position, batch.context)] == [np.int64] * 3
    assert batch.nll.dtype == np.float32
    parts = (batch.document, batch.position, batch.context, batch.nll[average])
    return [(int(d), int(p), int(c), pytest.approx(float(n), rel=1e-5)) for d, p, c, n in zip(*parts, strict=True)]


def test_windows_batch_by_batch():
    """Thirteen tokens of rows of 5, 2 and 6 are three windows of four, in batches of two; one token is left."""
    data, model, other = set_of(5, 2, 6), NumberedModel(), NumberedModel(shift=4)
    members, averages = [model.scoring_model(), other.scoring_model()], [SINGLE, Average((1,))]
    batches = list(iter_window_losses(members, averages, data, context_length=4, batch_size=2))
    assert model.batches == other.batches == [[[0, 1, 2, 3], [4, 5, 6, 7]], [[8, 9, 10, 11]]]
    owner = [(0, 0), (0, 1), (0, 2), (0, 3), (0, 4), (1, 0), (1, 1), *((2, place) for place in range(6))]
    for batch, starts in zip(batches, ([0, 4], [8]), strict=True):
        for average, scorer in enumerate((model, other)):
            expected = [
                (*owner[start + place], place, scorer.loss(start + place - 1, place, start + place))
                for start in starts
                for place in (1, 2, 3)
            ]
            assert lines(batch, average) == expected


def test_windows_within_boundaries_are_given_their_documents():
    model = NumberedModel()
    list(iter_window_losses([model.scoring_model()], [SINGLE], set_of(5, 2, 6), context_length=4, boundary=True))
    assert model.segments == [[[0, 0, 0, 0], [0, 1, 1, 2], [2, 2, 2, 2]]]
    across = NumberedModel()
    list(iter_window_losses([across.scoring_model()], [SINGLE], set_of(5, 2, 6), context_length=4))
    assert across.segments == []


class Rows(list):
    """Rows that remember which of them were looked up."""

    def __getitem__(self, index):
        self.looked_up.append(index)
        return super().__getitem__(index)


def test_a_batch_of_windows_looks_up_the_rows_that_it_holds():
    data = set_of(4, 4, 8)
    rows = Rows(data.rows)
    rows.looked_up = []
    data = EvaluationSet("held", data.document_ids, rows, data.num_bytes)
    model = NumberedModel().scoring_model()
    list(iter_window_losses([model], [SINGLE], data, context_length=4, batch_size=1))
    assert rows.looked_up == [0, 1, 2, 2]


def test_slides_batch_by_batch():
    """A row of 9 in windows of 4 that move on by 2; windows of one length together, the longest first."""
    data, model = set_of(3, 9, 2), NumberedModel()
    batches = list(iter_alone_losses([model.scoring_model()], [SINGLE], data, context_length=4, stride=2, batch_size=2))
    assert model.batches == [
        [[3, 4, 5, 6], [5, 6, 7, 8]],
        [[7, 8, 9, 10], [8, 9, 10, 11]],
        [[0, 1, 2], [12, 0, 0]],
    ]
    loss = model.loss
    assert lines(batches[0]) == [
        (1, 1, 1, loss(3, 1, 4)),
        (1, 2, 2, loss(4, 2, 5)),
        (1, 3, 3, loss(5, 3, 6)),
        (1, 4, 2, loss(6, 2, 7)),
        (1, 5, 3, loss(7, 3, 8)),
    ]
    assert lines(batches[1]) == [
        (1, 6, 2, loss(8, 2, 9)),
        (1, 7, 3, loss(9, 3, 10)),
        (1, 8, 3, loss(10, 3, 11)),
    ]
    assert lines(batches[2]) == [(0, 1, 1, loss(0, 1, 1)), (0, 2, 2, loss(1, 2, 2)), (2, 1, 1, loss(12, 1, 0))]


@pytest.mark.parametrize("boundary", [False, True])
def test_slides_behind_a_start_token(boundary):
    """It stands before a row's first window only, and within a boundary in a segment of its own."""
    data, model = set_of(6, 2), NumberedModel()
    scorer = model.scoring_model()
    batches = iter_alone_losses([scorer], [SINGLE], data, context_length=4, stride=2, start_id=12, boundary=boundary)
    (batch,) = batches
    assert model.batches == [[[12, 0, 1, 2], [1, 2, 3, 4], [2, 3, 4, 5], [12, 6, 7, 0]]]
    assert model.segments == ([[[0, 1, 1, 1], [1, 1, 1, 1], [1, 1, 1, 1], [0, 1, 1, 1]]] if boundary else [])
    loss = model.loss
    assert lines(batch) == [
        (0, 0, 1, loss(12, 1, 0)),
        (0, 1, 2, loss(0, 2, 1)),
        (0, 2, 3, loss(1, 3, 2)),
        (0, 3, 2, loss(2, 2, 3)),
        (0, 4, 3, loss(3, 3, 4)),
        (0, 5, 3, loss(4, 3, 5)),
        (1, 0, 1, loss(12, 1, 6)),
        (1, 1, 2, loss(6, 2, 7)),
    ]


def test_without_a_start_token_a_boundary_changes_nothing():
    model = NumberedModel()
    list(iter_alone_losses([model.scoring_model()], [SINGLE], set_of(6, 2), context_length=4, boundary=True))
    assert model.segments == []


@pytest.mark.parametrize("iterate", [iter_window_losses, iter_alone_losses])
def test_a_batch_is_32_windows_unless_told_otherwise(iterate):
    data = set_of(*[8] * 40)
    for settings, sizes in (({}, [32, 8]), ({"batch_size": 40}, [40]), ({"batch_size": 1}, [1] * 40)):
        model = NumberedModel()
        list(iterate([model.scoring_model()], [SINGLE], data, context_length=8, **settings))
        assert [len(batch) for batch in model.batches] == sizes


@pytest.mark.parametrize("score", [score_windows, score_documents])
def test_scores_are_batches_of_32_windows_unless_told_otherwise(score):
    for settings, sizes in (({}, [32, 8]), ({"batch_size": 7}, [7] * 5 + [5])):
        model = NumberedModel()
        score(model.scoring_model(), set_of(*[8] * 40), context_length=8, **settings)
        assert [len(batch) for batch in model.batches] == sizes


@pytest.mark.parametrize("context, stride", [(2, 1), (3, 1), (4, 2), (7, 3)])
def test_a_slide_is_half_a_window_unless_told_otherwise(context, stride):
    given, default = NumberedModel(), NumberedModel()
    list(iter_alone_losses([default.scoring_model()], [SINGLE], set_of(20), context_length=context))
    list(iter_alone_losses([given.scoring_model()], [SINGLE], set_of(20), context_length=context, stride=stride))
    assert default.batches == given.batches


def test_the_scores_of_windows_whole():
    data, model = set_of(5, 2, 6), NumberedModel()
    scores = score_windows(model.scoring_model(), data, context_length=4, order="given")
    nats = [model.losses(range(start, start + 4)) for start in (0, 4, 8)]
    assert (scores.set, scores.mode, list(scores.document_ids)) == ("held", "windowed", ["d0", "d1", "d2"])
    assert scores.num_dropped_tokens == 1
    np.testing.assert_array_equal(scores.num_tokens, np.array([3, 2, 4]), strict=True)
    np.testing.assert_array_equal(scores.num_bytes, np.array([30, 20, 40]), strict=True)
    np.testing.assert_allclose(
        scores.sum_nll, [sum(nats[0]), sum(nats[1][:2]), nats[1][2] + sum(nats[2])], rtol=1e-5, strict=True
    )


def test_windows_are_cut_in_the_order_of_hashes_unless_told_otherwise():
    data = set_of(5, 2, 6, 3, 4)
    assert data.ordered().document_ids != data.document_ids
    for settings, rows in (
        ({}, data.ordered().rows),
        ({"order": "hash"}, data.ordered().rows),
        ({"order": "given"}, data.rows),
    ):
        model = NumberedModel()
        score_windows(model.scoring_model(), data, context_length=4, **settings)
        assert model.batches == [np.concatenate(rows).reshape(-1, 4).tolist()]


@pytest.mark.parametrize("start_id", [None, 12])
def test_the_scores_of_documents_whole(start_id):
    data, model = set_of(3, 9, 2), NumberedModel()
    scores = score_documents(model.scoring_model(), data, context_length=4, stride=3, start_id=start_id)
    data, lead = data.ordered(), [] if start_id is None else [start_id]
    expected = []
    for row in data.rows:
        tokens, nats = [*lead, *row.tolist()], []
        for first in range(0, max(len(tokens) - 1, 1), 3):
            window = tokens[max(0, min(first, len(tokens) - 4)) :][:4]
            nats += model.losses(window)[-(min(first + 4, len(tokens)) - first - 1) :]
        assert len(nats) == len(tokens) - 1
        expected.append(sum(nats))
    assert (scores.set, scores.mode, scores.num_dropped_tokens) == ("held", "alone", 0)
    assert list(scores.document_ids) == list(data.document_ids)
    np.testing.assert_array_equal(scores.num_bytes, np.array(data.num_bytes), strict=True)
    assert scores.num_tokens.tolist() == [len(row) - 1 + len(lead) for row in data.rows]
    np.testing.assert_allclose(scores.sum_nll, expected, rtol=1e-5, strict=True)


def batch_of(document, *nll):
    places = np.arange(len(document))
    return TargetLosses(np.array(document), places, places, np.array(nll, dtype=np.float32))


def test_collected_scores_take_a_name_and_round_bytes_half_up():
    data = EvaluationSet("held", ["a", "b"], [np.arange(4), np.arange(5)], [6, 11])
    collector = ScoreCollector(data, "windowed_across", 2)
    collector.add(batch_of([0, 1, 1], [1, 2, 4], [10, 20, 40]))
    collector.add(batch_of([1], [8], [80]))
    first, second = collector.scores(name="part", num_dropped_tokens=7)
    for scores, nats in ((first, [1.0, 14.0]), (second, [10.0, 140.0])):
        assert (scores.set, scores.mode, scores.document_ids) == ("part", "windowed_across", ["a", "b"])
        assert scores.num_dropped_tokens == 7
        assert scores.num_tokens.tolist() == [1, 3]
        assert scores.num_bytes.tolist() == [2, 7]  # 6 / 4 = 1.5 and 11 * 3 / 5 = 6.6
        np.testing.assert_array_equal(scores.sum_nll, np.array(nats), strict=True)
    assert [scores.set for scores in collector.scores()] == ["held", "held"]
    assert [scores.num_dropped_tokens for scores in collector.scores()] == [0, 0]
    with pytest.raises(ValueError, match="zip"):
        collector.add(batch_of([0], [1]))


@pytest.mark.parametrize(
    "mode, has_start, num_bytes", [("alone", False, 6), ("alone", True, 5), ("windowed", False, 5)]
)
def test_the_targets_that_a_documents_bytes_are_shared_by(mode, has_start, num_bytes):
    """Alone and without a start token its first token is no target."""
    data = EvaluationSet("held", ["a"], [np.arange(4)], [9])
    batches = [batch_of([0, 0], [1, 2])]
    (scores,) = collect_scores(data, mode, batches, 1, has_start=has_start)
    assert (scores.mode, scores.num_bytes.tolist(), scores.num_dropped_tokens) == (mode, [num_bytes], 0)


def test_a_start_token_is_not_assumed():
    data = EvaluationSet("held", ["a"], [np.arange(4)], [9])
    collector = ScoreCollector(data, "alone", 1)
    collector.add(batch_of([0], [1]))
    for scores in (*collector.scores(), *collect_scores(data, "alone", [batch_of([0], [1])], 1)):
        assert scores.num_bytes.tolist() == [3]


@pytest.mark.parametrize(
    "settings, error",
    [
        (
            {"context_length": 1},
            "context_length 1, batch_size 32\n  to do: a window has two tokens, a batch one window",
        ),
        (
            {"context_length": 8, "batch_size": 0},
            "context_length 8, batch_size 0\n  to do: a window has two tokens, a batch one window",
        ),
        ({"context_length": 10}, "the model takes 9 tokens, not 10\n  to do: use context_length <= 9"),
    ],
)
@pytest.mark.parametrize("iterate", [iter_window_losses, iter_alone_losses])
def test_settings_that_are_refused_in_full(iterate, settings, error):
    limits = (None, 9, 11)
    models = [NumberedModel().scoring_model(max_context=limit) for limit in limits]
    with pytest.raises(InputError) as caught:
        list(iterate(models, [SINGLE], set_of(20), **settings))
    assert str(caught.value) == error


@pytest.mark.parametrize("iterate", [iter_window_losses, iter_alone_losses])
def test_the_smallest_settings_and_the_longest_window_are_taken(iterate):
    for limit, context in ((None, 2), (9, 9), (None, 20)):
        models = [NumberedModel().scoring_model(max_context=limit)]
        assert list(iterate(models, [SINGLE], set_of(20), context_length=context, batch_size=1))


@pytest.mark.parametrize("stride", [0, 4])
def test_strides_that_are_refused_in_full(stride):
    models = [NumberedModel().scoring_model()]
    with pytest.raises(InputError) as caught:
        list(iter_alone_losses(models, [SINGLE], set_of(20), context_length=4, stride=stride))
    assert str(caught.value) == (
        f"stride {stride} with a context of 4\n  where: evaluate.stride\n  to do: 1 <= stride < context"
    )
    for good in (1, 3):
        assert list(iter_alone_losses(models, [SINGLE], set_of(20), context_length=4, stride=good))


def test_a_set_shorter_than_a_window_is_refused_in_full():
    models = [NumberedModel().scoring_model()]
    with pytest.raises(InputError) as caught:
        list(iter_window_losses(models, [SINGLE], set_of(3, 4), context_length=8))
    assert str(caught.value) == (
        "7 tokens do not fill one window of 8\n  where: held\n  to do: add documents, or score each document alone"
    )


@pytest.mark.parametrize("iterate", [iter_window_losses, iter_alone_losses])
def test_tokens_and_members_are_checked_before_anything_runs(iterate):
    model = NumberedModel()
    wrong = EvaluationSet("held", ["a"], [np.arange(20)], [20])
    with pytest.raises(InputError, match=r"^document 'a' holds token 19, but the model has 13"):
        list(iterate([model.scoring_model()], [SINGLE], wrong, context_length=4))
    with pytest.raises(InputError, match=r"^an average names member 1 of 1"):
        list(iterate([model.scoring_model()], [Average((0, 1))], set_of(20), context_length=4))
    assert model.batches == []
