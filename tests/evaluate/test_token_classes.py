"""Losses by class of target against a loop over targets."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from megadocs.evaluate.document_losses import TargetLosses, iter_alone_losses
from megadocs.evaluate.evaluation_set import EvaluationSet
from megadocs.evaluate.scoring_model import ScoringModel
from megadocs.evaluate.target_losses import SINGLE
from megadocs.evaluate.token_classes import ClassCollectors, TargetClasses

DATA = EvaluationSet("held", ["b", "a"], [np.array([0, 1, 2, 3]), np.array([0, 4, 5])], [12, 9])
CLASSES = TargetClasses(
    ("template", "unused", "name"),
    {"a": np.array([0, 2, 2], dtype=np.int8), "b": np.array([2, 0, 2, 0], dtype=np.int8)},
)


def plain(scores):
    """Every part of a table, as plain values."""
    return (
        scores.set,
        scores.mode,
        list(scores.document_ids),
        scores.num_tokens.tolist(),
        scores.num_bytes.tolist(),
        scores.sum_nll.tolist(),
        scores.num_dropped_tokens,
    )


def test_two_averages_in_two_batches_by_hand():
    """Classes that no token has are left out; a class counts its share of a document's bytes."""
    parts = ClassCollectors(DATA, CLASSES, num_averages=2)
    places = np.array([1, 2, 3])
    parts.add(TargetLosses(np.array([0, 0, 0]), places, places, np.array([[1, 2, 4], [10, 20, 40]], dtype=np.float32)))
    places = np.array([1, 2])
    parts.add(TargetLosses(np.array([1, 1]), places, places, np.array([[8, 16], [80, 160]], dtype=np.float32)))
    assert [[plain(scores) for scores in averages] for averages in parts.scores()] == [
        [  # tokens 1 and 3 of b
            ("held_template", "alone", ["b", "a"], [2, 0], [8, 0], [5.0, 0.0], 0),
            ("held_template", "alone", ["b", "a"], [2, 0], [8, 0], [50.0, 0.0], 0),
        ],
        [  # token 2 of b, both of a
            ("held_name", "alone", ["b", "a"], [1, 2], [4, 9], [2.0, 24.0], 0),
            ("held_name", "alone", ["b", "a"], [1, 2], [4, 9], [20.0, 240.0], 0),
        ],
    ]


@pytest.mark.parametrize("start_id", [None, 6])
def test_every_target_is_in_the_class_of_its_token(start_id):
    log_p = -np.log(2.0) * np.arange(1, 8)

    model = ScoringModel.from_callable(lambda tokens: torch.tensor(log_p).expand(*tokens.shape, 7), 7)
    parts = ClassCollectors(DATA, CLASSES, 1, has_start=start_id is not None)
    for batch in iter_alone_losses([model], [SINGLE], DATA, context_length=8, start_id=start_id):
        parts.add(batch)
    lost = -np.log(np.exp(log_p) / np.exp(log_p).sum())
    first = 0 if start_id is not None else 1
    found = {scores.set: scores for (scores,) in parts.scores()}
    assert list(found) == ["held_template", "held_name"]
    for code, name in ((0, "held_template"), (2, "held_name")):
        for place, (document_id, row) in enumerate(zip(DATA.document_ids, DATA.rows, strict=True)):
            own = [token for token, of in zip(row, CLASSES.codes[document_id], strict=True) if of == code]
            own = own[1:] if first and CLASSES.codes[document_id][0] == code else own
            assert found[name].num_tokens[place] == len(own)
            assert found[name].sum_nll[place] == pytest.approx(sum(lost[token] for token in own))
            assert found[name].num_bytes[place] == round(DATA.num_bytes[place] * len(own) / (len(row) - first))


def test_codes_of_another_length_are_refused():
    short = TargetClasses(CLASSES.names, {**CLASSES.codes, "a": np.array([0, 2], dtype=np.int8)})
    with pytest.raises(AssertionError, match=r"^a class for every token of a row$"):
        ClassCollectors(DATA, short, 1)
