"""Losses of ensembles by their number of members, and the law over it: where would infinitely many members end?

    results |= ensemble_results(losses, ("test", "windowed"), confidence=0.95)

An ensemble is scored at every size 1..K and under two averages: of logits (the papers') and of probabilities. Sizes of
one ensemble share members, so the scatter around the law understates its uncertainty; the page says so.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from megadocs.analysis.laws import LawSeries, law_rows
from megadocs.analysis.member_law import member_law
from megadocs.analysis.results_json import json_form


@dataclass(frozen=True, slots=True)
class EnsembleLoss:
    """One size of one ensemble on one set in one mode."""

    ensemble: str
    arm: str  # whose runs its members are
    set: str
    mode: str
    average: str  # "logits" or "probabilities"; a single member is the same under both
    num_members: int
    num_subsets: int  # subsets of that size that the loss is the mean of
    loss: float  # nats per token
    standard_deviation: float | None = None  # over the subsets; None for one
    record: str | None = None  # path of the ensemble's record, relative to the workspace


def ensemble_results(
    losses: Sequence[EnsembleLoss], headline: tuple[str, str], confidence: float
) -> dict[str, list[dict[str, Any]]]:
    """The keys `ensembles` and `ensemble_laws` of the results.

    Args:
        headline: set and mode that the laws are fitted to.
    """
    series: dict[tuple[str, str], dict[int, float]] = {}
    for row in losses:
        if (row.set, row.mode) == headline:
            series.setdefault((row.ensemble, row.average), {})[row.num_members] = row.loss
    laws = [
        LawSeries(f"{ensemble}, {average}", "num_members", tuple(map(float, found)), tuple(found.values()))
        for (ensemble, average), found in series.items()
        if len(found) > 1
    ]
    rows = law_rows(laws, confidence)
    held = [{"constrained": member_law(series.x, series.losses)} for series in laws]
    rows = [row | constrained for row, constrained in zip(rows, held, strict=True)]
    return {"ensembles": json_form(list(losses)), "ensemble_laws": json_form(rows)}
