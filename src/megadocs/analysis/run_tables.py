"""Tables of arms and runs in the results: facts, losses per run, what is missing, what trained on more tokens."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from megadocs.analysis.results_json import json_form
from megadocs.analysis.tables import RunFacts, ScoreBlock

_MAX_NAMED = 6  # runs named in one warning
_AVERAGED = (
    "train_tokens",
    "num_steps",
    "real_epochs",
    "synthetic_epochs",
    "seconds",
    "flops",
    "num_parameters",
    "planned_real_epochs",
    "planned_synthetic_epochs",
    "final_training_loss",
)


def arm_facts(arm: str, runs: Sequence[RunFacts]) -> dict[str, Any]:
    """An arm's facts, averaged over its runs; of kind `missing` where it has none."""
    own = [run for run in runs if run.arm == arm]
    if not own:
        return {"arm": arm, "kind": "missing", "seeds": []}
    row: dict[str, Any] = {
        "arm": arm,
        "kind": "synthetic" if any(run.synthetic_tokens for run in own) else "real",
        "seeds": sorted(run.seed for run in own),
        "real_documents": own[0].real_documents,
        "real_tokens": own[0].real_tokens,
        "synthetic_tokens": own[0].synthetic_tokens,
        "settings": dict(own[0].settings),
        "student": dict(own[0].student),
    }
    for field in _AVERAGED:
        values = [getattr(run, field) for run in own if getattr(run, field) is not None]
        row[field] = float(np.mean(values)) if values else None
    return row


def run_rows(runs: Sequence[RunFacts], blocks: Sequence[ScoreBlock]) -> list[dict[str, Any]]:
    """Facts of every run with its losses on every set and mode."""
    losses: dict[tuple[str, int], list[dict[str, Any]]] = {}
    for block in blocks:
        for key, loss in zip(block.runs, block.losses(), strict=True):
            losses.setdefault(key, []).append({"set": block.set_name, "mode": block.mode, "loss": float(loss)})
    return [{**json_form(run), "losses": losses.get((run.arm, run.seed), [])} for run in runs]


def missing_runs(
    expected: Sequence[tuple[str, int]], facts: Mapping[tuple[str, int], RunFacts], blocks: Sequence[ScoreBlock]
) -> list[dict[str, Any]]:
    """Every (arm, seed) that was expected and is not there, was not scored, or does not fit; with the reason.

    The first block is the headline: a run that was scored on other sets only is named too.
    """
    rows = [
        {"arm": arm, "seed": seed, "reason": "no finished run"} for arm, seed in expected if (arm, seed) not in facts
    ]
    scored = {run for block in blocks for run in block.runs}
    named = {(arm, seed) for block in blocks for arm, seed, _ in block.left_out}
    rows += [
        {"arm": arm, "seed": seed, "reason": "not scored"} for arm, seed in facts if (arm, seed) not in scored | named
    ]
    headline = blocks[0]
    in_headline = {*headline.runs, *((arm, seed) for arm, seed, _ in headline.left_out)}
    rows += [
        {"arm": arm, "seed": seed, "reason": f"{headline.set_name}/{headline.mode}: not scored"}
        for arm, seed in facts
        if (arm, seed) in (scored | named) - in_headline
    ]
    return rows + [
        {"arm": arm, "seed": seed, "reason": f"{block.set_name}/{block.mode}: {reason}"}
        for block in blocks
        for arm, seed, reason in block.left_out
    ]


def more_tokens(arms: Sequence[str], runs: Sequence[RunFacts], baseline: str) -> list[dict[str, Any]]:
    """Arms that trained on more tokens than the baseline, and by what ratio."""
    tokens = {
        arm: float(np.mean(values))
        for arm in arms
        if (values := [run.train_tokens for run in runs if run.arm == arm and run.train_tokens is not None])
    }
    base = tokens.get(baseline)
    if not base:
        return []
    return [{"arm": arm, "train_tokens": num, "ratio": num / base} for arm, num in tokens.items() if num > base * 1.005]


def not_numbers(blocks: Sequence[ScoreBlock]) -> list[str]:
    """A warning that names the runs whose loss is NaN or infinite, and where; none where there are no such runs."""
    places: dict[str, list[str]] = {}
    for block in blocks:
        for (arm, seed), loss in zip(block.runs, block.losses(), strict=True):
            if not np.isfinite(loss):
                places.setdefault(f"{arm} seed {seed}", []).append(f"{block.set_name}/{block.mode}")
    if not places:
        return []
    named = [f"{run} ({', '.join(where[:3])}{' ...' if where[3:] else ''})" for run, where in places.items()]
    shown = "; ".join(named[:_MAX_NAMED]) + (f"; {len(named) - _MAX_NAMED} more runs" if named[_MAX_NAMED:] else "")
    rest = "They are shown, not averaged away, and nothing is compared with their arms."
    return [f"Losses that are not numbers: {shown}. {rest}"]
