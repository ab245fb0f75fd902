"""Use of the context: a model that copies is found to, one that looks at nothing is not; by hand where it can be."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from megadocs.evaluate.context_use import ContextCase, context_gains, late_minus_early, repeat_score
from megadocs.evaluate.evaluation_set import EvaluationSet
from megadocs.evaluate.scoring_model import ScoringModel
from numbered_model import NumberedModel

VOCAB = 50
SURE = 4.0


def copier(tokens_BT: torch.Tensor) -> torch.Tensor:
    """After a token that stood before, favours what followed it then (induction); else uniform."""
    logits = torch.zeros(*tokens_BT.shape, VOCAB)
    for line, row in enumerate(tokens_BT.tolist()):
        last: dict[int, int] = {}
        for place, token in enumerate(row):
            if token in last:
                logits[line, place, row[last[token] + 1]] = SURE
            last[token] = place
    return logits


COPIES = ScoringModel.from_callable(copier, VOCAB)
IGNORES = ScoringModel.from_callable(lambda tokens: torch.zeros(*tokens.shape, VOCAB), VOCAB)


def row(*tokens: int) -> np.ndarray:
    return np.array([1, *tokens, 2], dtype=np.uint32)


CASES = [
    ContextCase("a", row(10, 11, 12, 13), [row(10, 11, 12, 13)], [row(20, 21, 22, 23)]),
    ContextCase("b", row(20, 21, 22), [row(30, 31), row(20, 21, 22)], [row(10, 11), row(13, 14, 15)]),
]


def test_a_context_is_worth_what_it_tells() -> None:
    found = context_gains(COPIES, CASES, context_length=32)
    assert found.num_tokens.tolist() == [5, 4]
    uniform = np.log(VOCAB)
    sure = np.log(np.exp(SURE) + VOCAB - 1) - SURE
    wrong = sure + SURE
    # a: behind its own copy every token is sure; behind the other row its opening is guessed wrong, the rest is uniform
    assert found.gains[0] == pytest.approx((wrong + 4 * uniform) - 5 * sure, rel=1e-5)
    assert found.gains[1] == pytest.approx((wrong + 3 * uniform) - 4 * sure, rel=1e-5)
    assert found.nats_per_token == pytest.approx(found.gains.sum() / 9)
    assert found.num_context_rows == 1.5


def test_a_model_that_ignores_its_context_gains_nothing() -> None:
    found = context_gains(IGNORES, CASES, context_length=32)
    assert found.gains == pytest.approx([0.0, 0.0], abs=1e-5)
    assert repeat_score(IGNORES, np.arange(3, VOCAB), 32) == pytest.approx(0.0, abs=1e-5)


def test_only_whole_rows_that_fit_are_taken_and_the_last_ones() -> None:
    own, others = [row(*range(10, 16)), row(40, 41)], [row(*range(30, 36)), row(42, 43)]
    long = ContextCase("c", row(*range(10, 16)), own, others)
    assert context_gains(COPIES, [long], context_length=13).num_context_rows == 1.0
    few = context_gains(COPIES, [long], context_length=13).nats_per_token
    assert few < context_gains(COPIES, [long], context_length=32).nats_per_token


def test_the_end_of_a_row_that_does_not_fit_is_no_whole_row() -> None:
    case = ContextCase("c", row(3, 4), [row(*range(10, 40))], [row(*range(10, 40))])
    assert context_gains(COPIES, [case], context_length=16).num_context_rows == 0.0


@pytest.mark.parametrize("other", [[row(20)] * 9, [row(*range(20, 45))]])
def test_the_foreign_context_is_as_long_as_the_own_one(other: list[np.ndarray]) -> None:
    lengths: list[int] = []

    def remember(tokens: torch.Tensor) -> torch.Tensor:
        lengths.append(tokens.shape[1])
        return torch.zeros(*tokens.shape, VOCAB)

    case = ContextCase("a", row(10, 11), [row(12, 13), row(14, 15, 16)], other)
    context_gains(ScoringModel.from_callable(remember, VOCAB), [case], context_length=32)
    assert set(lengths) == {4 + 9}


def test_a_shorter_foreign_context_shortens_the_own_one() -> None:
    case = ContextCase("a", row(10, 11), [row(12, 13), row(14, 15, 16)], [row(20, 21, 22)])
    assert context_gains(COPIES, [case], context_length=32).num_context_rows == 1.0


def test_a_document_as_long_as_the_context_is_cut() -> None:
    found = context_gains(COPIES, [ContextCase("d", row(*range(3, 43)), [row(3, 4)], [row(5, 6)])], context_length=20)
    assert found.num_tokens.tolist() == [15]


def test_no_document_is_an_error() -> None:
    with pytest.raises(ValueError, match="no document"):
        context_gains(COPIES, [], 32)


def test_the_second_copy_of_a_random_sequence() -> None:
    assert repeat_score(COPIES, np.arange(3, VOCAB), 16) < -1.0


def test_late_minus_early() -> None:
    rows = [row(*([5, 6, 7, 8] * 4))] * 8
    data = EvaluationSet("v", [str(n) for n in range(8)], rows, [10] * 8)
    found = late_minus_early(COPIES, data, 16)
    assert found is not None
    assert found < -1.0
    assert late_minus_early(IGNORES, data, 16) == pytest.approx(0.0, abs=1e-5)
    assert late_minus_early(COPIES, data, 4096) is None


def plain(tokens: range | list[int]) -> np.ndarray:
    return np.array(list(tokens), dtype=np.uint16)


def test_what_a_model_is_given_and_what_it_loses() -> None:
    """Room for 8 tokens: two whole rows before one document; before the other, cut to half of it, the end of a row."""
    model = NumberedModel()
    cases = [
        ContextCase("x", plain([10, 11, 12]), [plain([0, 1]), plain([2, 3]), plain([4, 5, 6])], [plain(range(3, 9))]),
        ContextCase("y", plain([9, 8, 7, 6, 5]), [plain([1, 2, 3, 4, 5, 6])], [plain([7]), plain([9, 10])]),
    ]
    found = context_gains(model.scoring_model(), cases, context_length=8)
    own = [[2, 3, 4, 5, 6, 10, 11, 12], [4, 5, 6, 9, 8, 7, 6, 0]]
    other = [[4, 5, 6, 7, 8, 10, 11, 12], [7, 9, 10, 9, 8, 7, 6, 0]]
    assert model.batches == [own, other]
    lengths, ends = (3, 4), (8, 7)
    losses = [
        [sum(model.losses(line[:end])[-(length - 1) :]) for line, length, end in zip(lines, lengths, ends, strict=True)]
        for lines in (own, other)
    ]
    assert found.document_ids == ["x", "y"]
    np.testing.assert_array_equal(found.num_tokens, np.array([2, 3]), strict=True)
    np.testing.assert_allclose(found.gains, np.subtract(losses[1], losses[0]), rtol=1e-4, strict=True)
    assert found.num_context_rows == 1.0
    assert found.nats_per_token == pytest.approx((sum(losses[1]) - sum(losses[0])) / 5, rel=1e-4)


@pytest.mark.parametrize("context_length, num_targets", [(2, 1), (3, 1), (9, 4), (100, 11)])
def test_how_much_of_a_document_is_kept(context_length: int, num_targets: int) -> None:
    case = ContextCase("x", plain([5] * 12), [plain([1] * 7), plain([2] * 6)], [plain([3] * 90)])
    found = context_gains(NumberedModel().scoring_model(), [case], context_length)
    assert found.num_tokens.tolist() == [num_targets]


@pytest.mark.parametrize("context_length, sizes", [(2731, [2, 1]), (8192, [1, 1, 1]), (9000, [1, 1, 1]), (64, [3])])
def test_a_batch_holds_no_more_than_8192_tokens(context_length: int, sizes: list[int]) -> None:
    model = NumberedModel()
    case = ContextCase("x", plain([5, 6]), [plain([1, 2])], [plain([3, 4])])
    longer = ContextCase("z", plain([5, 6, 7]), [plain([1, 2])], [plain([3, 4])])
    found = context_gains(model.scoring_model(), [case, longer, case], context_length)
    assert [len(batch) for batch in model.batches] == sizes * 2
    assert found.gains[0] == found.gains[2] == pytest.approx(model.loss(5, 3, 6) - model.loss(5, 3, 6))
    assert found.num_tokens.tolist() == [1, 2, 1]


def test_the_order_of_whole_rows_is_kept() -> None:
    model = NumberedModel()
    case = ContextCase("x", plain([9, 8]), [plain([1]), plain([2, 3]), plain([4])], [plain(range(4, 12))])
    assert context_gains(model.scoring_model(), [case], context_length=6).num_context_rows == 3.0
    assert model.batches == [[[1, 2, 3, 4, 9, 8]], [[8, 9, 10, 11, 9, 8]]]


def test_no_document_is_an_error_in_full() -> None:
    with pytest.raises(ValueError, match=r"^no document to score$"):
        context_gains(COPIES, [], 32)


def test_the_repeat_score_of_the_sequences_that_were_drawn() -> None:
    """Sixteen of them, the same ones for ever; an odd window holds two halves and a token less."""
    model = NumberedModel()
    score = repeat_score(model.scoring_model(), plain(range(13)), 9)
    (drawn,) = model.batches
    assert [(row[:4], len(row)) for row in drawn] == [(row[4:], 8) for row in drawn]
    assert (len(drawn), drawn[0][:4], drawn[15][:4]) == (16, [9, 11, 7, 1], [7, 8, 8, 9])
    losses = np.array([[0.0, *model.losses(row)] for row in drawn])
    assert score == pytest.approx(losses[:, 5:].mean() - losses[:, 1:4].mean(), rel=1e-4)


@pytest.mark.parametrize("context_length", [16, 19, 27])
def test_late_and_early_targets_of_windows(context_length: int) -> None:
    """An eighth and a half are rounded down, the first token of a window is no target."""
    model = NumberedModel()
    rows = [plain([(3 * place * place + n) % 13 for place in range(20)]) for n in range(60)]
    data = EvaluationSet("v", [str(n) for n in range(60)], rows, [10] * 60)
    found = late_minus_early(model.scoring_model(), data, context_length)
    windows = [window for batch in model.batches for window in batch]
    stream = np.concatenate(data.ordered().rows).tolist()
    assert [token for window in windows for token in window] == stream[: len(stream) // context_length * context_length]
    early, late = [], []
    for window in windows:
        losses = [0.0, *model.losses(window)]
        early += losses[1 : context_length // 8]
        late += losses[context_length // 2 :]
    assert len(model.batches) > 1
    assert found == pytest.approx(np.mean(late) - np.mean(early), rel=1e-3)


def test_a_set_of_one_window_has_a_late_and_an_early_part() -> None:
    data = EvaluationSet("v", ["a"], [plain([1, 2, 3] * 5 + [4])], [10])
    assert late_minus_early(NumberedModel().scoring_model(), data, 16) is not None
    assert late_minus_early(NumberedModel().scoring_model(), data, 17) is None
    assert late_minus_early(NumberedModel().scoring_model(), data, 15) is None  # an eighth of it holds no target


def test_a_document_of_one_token_has_no_target_and_gains_nothing() -> None:
    rows = {"x": plain([5, 6]), "y": plain([7])}
    cases = [ContextCase(name, tokens, [plain([5, 6])], [plain([3, 4])]) for name, tokens in rows.items()]
    found = context_gains(COPIES, cases, context_length=8)
    assert found.num_tokens.tolist() == [1, 0]
    sure = np.log(np.exp(SURE) + VOCAB - 1) - SURE
    assert found.gains.tolist() == [pytest.approx(np.log(VOCAB) - sure, rel=1e-5), 0.0]
