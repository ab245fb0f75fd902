"""Losses by class of target: what a model loses on names told before, say, apart from what it loses on new ones.

    classes = TargetClasses(("template", "name"), {"d1": codes, ...})     # a code for every token of every row
    parts = ClassCollectors(data, classes, num_averages=1)
    for batch in batches: parts.add(batch)
    parts.scores()          # DocumentScores named test_template, test_name

Only per-document losses are split: in windowed ones a target's context may start late.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from megadocs.evaluate.document_losses import ScoreCollector, TargetLosses
from megadocs.evaluate.evaluation_set import EvaluationSet
from megadocs.evaluate.scores import DocumentScores


@dataclass(frozen=True, slots=True)
class TargetClasses:
    """A class for every token of a set's rows."""

    names: Sequence[str]  # of the classes, in the order of their codes
    codes: Mapping[str, npt.NDArray[np.int8]]  # document id -> int8 (tokens of its row, separators included)


class ClassCollectors:
    """One `ScoreCollector` for each class that the set has; fed with per-document losses.

    Args:
        data: the documents, in the order that the batches count them in.
        has_start: a start token stood before the rows.
    """

    def __init__(
        self, data: EvaluationSet, classes: TargetClasses, num_averages: int, *, has_start: bool = False
    ) -> None:
        codes = [classes.codes[document_id] for document_id in data.document_ids]
        for row, code in zip(data.rows, codes, strict=True):
            assert len(row) == len(code), "a class for every token of a row"
        self._starts = np.concatenate(([0], np.cumsum([len(code) for code in codes])[:-1]))
        self._codes = np.concatenate(codes)
        self._collectors = {
            code: (f"{data.name}_{name}", ScoreCollector(data, "alone", num_averages, has_start=has_start))
            for code, name in enumerate(classes.names)
            if (self._codes == code).any()
        }

    def add(self, batch: TargetLosses) -> None:
        """Take in one batch."""
        of_target = self._codes[self._starts[batch.document] + batch.position]
        for code, (_, collector) in self._collectors.items():
            chosen = of_target == code
            collector.add(
                TargetLosses(
                    batch.document[chosen], batch.position[chosen], batch.context[chosen], batch.nll[:, chosen]
                )
            )

    def scores(self) -> list[list[DocumentScores]]:
        """For every class its scores, one per average."""
        return [collector.scores(name=name) for name, collector in self._collectors.values()]
