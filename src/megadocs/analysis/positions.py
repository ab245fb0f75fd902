"""Loss by position in a document, from single runs to arms: where in long documents an arm gains or loses.

    results["positions"] = position_tables([RunPositions("simple", 0, "speeches", ranges, record), ...], "real_only")

A run's curve is summed over whole documents, so it says nothing about their spread: the mean over seeds stands beside
each seed's own curve, and the tests with intervals are those of the sets `<name>_past_<position>`, which are scored per
document like any other set. Differences are means over the seeds that an arm has in common with the baseline.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from megadocs.analysis.results_json import json_form, number_of

#: First position, first position of the next range (None: no end), targets.
_Range = tuple[int, int | None, int]


@dataclass(frozen=True, slots=True)
class RunPositions:
    """The loss of one run by ranges of positions of one set."""

    arm: str  # the arm, or an ensemble's name
    seed: int | None  # the run's seed; None for a whole ensemble
    set_name: str
    #: [{from, to, num_tokens, nats_per_token}] as `positions.json` holds them; P of them.
    ranges: Sequence[Mapping[str, Any]]
    context_length: int  # tokens that the model sees at once
    #: position -> the name of the set of the targets from there on, where they were scored per document.
    past: Mapping[int, str] = field(default_factory=dict)
    record: str | None = None  # path of the record, relative to the workspace


def position_tables(runs: Sequence[RunPositions], baseline: str) -> list[dict[str, Any]]:
    """One table a set: the loss of every arm by ranges of positions.

    Args:
        runs: of single models and of ensembles, in the order of the arms.
        baseline: the arm that the others are compared with.

    Returns:
        Per set `set`, `context_lengths`, `past` [{position, set}], `ranges` [{from, to, num_tokens}], `arms` [{arm,
        is_ensemble, losses (P,), differences (P,) or None, seeds [{seed, losses (P,), record}]}] and `left_out` [{arm,
        seed}]: runs whose ranges or targets are not those of most (another tokenizer).
    """
    return [
        _table(name, [run for run in runs if run.set_name == name], baseline)
        for name in dict.fromkeys(run.set_name for run in runs)
    ]


def _table(name: str, runs: Sequence[RunPositions], baseline: str) -> dict[str, Any]:
    ranges, _ = Counter(_ranges(run) for run in runs).most_common(1)[0]
    kept = [run for run in runs if _ranges(run) == ranges]
    own: dict[int | None, list[float | None]] = {run.seed: _losses(run) for run in kept if run.arm == baseline}
    past = {position: scored for run in kept for position, scored in run.past.items()}
    table = {
        "set": name,
        "context_lengths": sorted({run.context_length for run in kept}),
        "past": [{"position": position, "set": past[position]} for position in sorted(past)],
        "ranges": [{"from": low, "to": high, "num_tokens": count} for low, high, count in ranges],
        "arms": [
            _arm(arm, [run for run in kept if run.arm == arm], {} if arm == baseline else own)
            for arm in dict.fromkeys(run.arm for run in kept)
        ],
        "left_out": [{"arm": run.arm, "seed": run.seed} for run in runs if _ranges(run) != ranges],
    }
    plain: dict[str, Any] = json_form(table)
    return plain


def _arm(arm: str, runs: Sequence[RunPositions], baseline: Mapping[int | None, list[float | None]]) -> dict[str, Any]:
    curves = {run.seed: _losses(run) for run in runs}
    common = [seed for seed in curves if seed in baseline]
    shifts = [
        [_difference(own, base) for own, base in zip(curves[seed], baseline[seed], strict=True)] for seed in common
    ]
    return {
        "arm": arm,
        "is_ensemble": all(run.seed is None for run in runs),
        "losses": _mean(list(curves.values())),
        "differences": _mean(shifts) if shifts else None,
        "seeds": [{"seed": run.seed, "losses": curves[run.seed], "record": run.record} for run in runs],
    }


def _ranges(run: RunPositions) -> tuple[_Range, ...]:
    return tuple((row["from"], row["to"], row["num_tokens"]) for row in run.ranges)


def _losses(run: RunPositions) -> list[float | None]:
    """Nats per token of every range; None where it has no targets. NaN stays NaN."""
    return [None if row["nats_per_token"] is None else number_of(row["nats_per_token"]) for row in run.ranges]


def _difference(own: float | None, other: float | None) -> float | None:
    return None if own is None or other is None else own - other


def _mean(curves: Sequence[Sequence[float | None]]) -> list[float | None]:
    """Means over curves of the same ranges."""
    means: list[float | None] = []
    for values in zip(*curves, strict=True):
        there = [value for value in values if value is not None]
        means.append(sum(there) / len(there) if there else None)
    return means
