"""The same experiment in several worlds: is one arm below another when the world is the unit?

    rows = replicated_differences([results_a, results_b, ...], "stitched", "simple")

Within one corpus an interval covers new documents and seeds of that corpus. Where an experiment was repeated on corpora
drawn independently (the seeds of a controlled world), the scatter between them is the one that matters: each gives one
difference, and a paired t-test over them has one degree of freedom less than there are corpora.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import special

from megadocs.analysis.results_json import number_of
from megadocs.errors import AnalysisError


@dataclass(frozen=True, slots=True)
class ReplicatedDifference:
    """Arm minus reference on one set, over n replications."""

    set_name: str
    mode: str
    differences: tuple[float, ...]  # nats per token, one per replication, in their order
    mean: float  # of these
    interval: tuple[float, float] | None  # of the mean, Student's t; None for a single one
    p_value: float | None  # two-sided; None for a single one


def replicated_differences(
    replications: Sequence[Mapping[str, Any]], arm: str, reference: str, confidence: float = 0.95
) -> list[ReplicatedDifference]:
    """One entry for each set and mode that every replication scored for both arms.

    Args:
        replications: results of the same recipe on corpora of their own.

    Raises:
        AnalysisError: there is no replication, one lacks an arm or has a loss that is not a number, an arm is compared
            with itself, no set and mode was scored in all of them, or two are the same results.
    """
    if not replications:
        raise AnalysisError("no replication to compare", remedy="name at least one workspace with results.json")
    if arm == reference:
        raise AnalysisError(f"{arm!r} cannot be compared with itself", remedy="name two arms")
    tables = [_losses(results, (arm, reference)) for results in replications]
    keys = [key for key in tables[0] if all(key in table for table in tables)]
    if not keys:
        raise AnalysisError(
            f"no set was scored for {arm} and {reference} in every replication",
            remedy="compare workspaces of one recipe (`megadocs report` scores what is missing)",
        )
    rows = []
    for key in keys:
        found = np.array([table[key][arm] - table[key][reference] for table in tables])
        if not np.isfinite(found).all():
            name = replications[int(np.argmin(np.isfinite(found)))]["name"]
            raise AnalysisError(
                f"in {name} the loss of {arm} or {reference} on {key[0]} is not a number",
                remedy="leave that replication out, or train it again at a lower train.learning_rate",
            )
        if len(found) > 1 and len(np.unique(found)) < len(found):
            raise AnalysisError(
                "two replications have the same losses to the last digit: one was named twice",
                remedy="name each workspace once",
            )
        rows.append(_row(key, found, confidence))
    return rows


def _losses(results: Mapping[str, Any], arms: Sequence[str]) -> dict[tuple[str, str], dict[str, float]]:
    """(set, mode) -> arm -> loss, mean over its seeds; of the sets and modes that both arms were scored in."""
    scored = {
        (block["set"], block["mode"]): {row["arm"]: number_of(row["loss"]) for row in block["losses"]}
        for block in results["sets"]
    }
    known = {arm for losses in scored.values() for arm in losses}
    missing = [arm for arm in arms if arm not in known]
    if missing:
        raise AnalysisError(
            f"{results['name']} has no finished run of the arm {missing[0]!r}",
            remedy=f"choose from {', '.join(sorted(known))}, or finish its runs",
        )
    return {
        key: {arm: losses[arm] for arm in arms} for key, losses in scored.items() if all(arm in losses for arm in arms)
    }


def _row(key: tuple[str, str], found: np.ndarray, confidence: float) -> ReplicatedDifference:
    mean = float(found.mean())
    if len(found) < 2:
        return ReplicatedDifference(*key, tuple(found.tolist()), mean, None, None)
    error = float(found.std(ddof=1)) / len(found) ** 0.5
    reach = float(special.stdtrit(len(found) - 1, (1 + confidence) / 2)) * error
    with np.errstate(divide="ignore", invalid="ignore"):
        p_value = float(2 * special.stdtr(len(found) - 1, -abs(np.float64(mean) / error)))
    return ReplicatedDifference(*key, tuple(found.tolist()), mean, (mean - reach, mean + reach), p_value)
