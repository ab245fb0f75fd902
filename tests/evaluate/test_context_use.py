"""Use of the context: a model that copies is found to, one that looks at nothing is not; by hand where it can be."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from megadocs.evaluate.context_use import ContextCase, context_gains, late_minus_early, repeat_score
from megadocs.evaluate.evaluation_set import EvaluationSet
from megadocs.evaluate.scoring_model import ScoringModel

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
