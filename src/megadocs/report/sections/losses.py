"""Losses of every arm, differences to the baseline, pairs, other sets, and what noise allows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from megadocs.report.figures import MAX_ROWS, difference_figure
from megadocs.report.inputs import ReportInputs
from megadocs.report.section import Row, Section, View, flat, flat_rows, per_set


def _view(inputs: ReportInputs) -> View:
    results = inputs.results
    headline = results["sets"][0]
    return {
        "rows": _loss_rows(results, headline),
        "differences": difference_figure(results, headline),
        "other_sets": results["sets"][1:],
        "tokens_of": {arm["arm"]: arm.get("train_tokens") for arm in results["arms"]},
        "max_rows": MAX_ROWS,
    }


def _loss_rows(results: Mapping[str, Any], block: Mapping[str, Any]) -> list[dict[str, Any]]:
    """One row per arm of the recipe, also for arms without a finished run."""
    losses = {row["arm"]: row for row in block["losses"]}
    differences = {row["arm"]: row for row in block["differences"]}
    worth = {row["arm"]: row for row in block["data_efficiency"]}
    records = {(run["arm"], run["seed"]): run["record"] for run in results["runs"]}
    own_tokens = _real_multiples(results, block)
    return [
        {
            "arm": arm["arm"],
            "facts": arm,
            "loss": losses.get(arm["arm"]),
            "difference": differences.get(arm["arm"]),
            "worth": worth.get(arm["arm"]),
            "own_tokens": own_tokens.get(arm["arm"]),
            "records": {seed: records[arm["arm"], seed] for seed in arm["seeds"]},
            "absent": [row for row in results["missing"] if row["arm"] == arm["arm"]],
        }
        for arm in results["arms"]
    ]


def _real_multiples(results: Mapping[str, Any], block: Mapping[str, Any]) -> dict[str, float]:
    """Arm of the real-only curve -> its real tokens as a multiple of the baseline's."""
    tokens = {point["arm"]: float(point["real_tokens"]) for point in block["curve"]}
    base = tokens.get(results["baseline"])
    return {arm: num / base for arm, num in tokens.items()} if base else {}


def _tables(results: Mapping[str, Any]) -> dict[str, list[Row]]:
    return {
        "arms": flat_rows(results["arms"], "seeds"),
        "other_students": [{"arm": arm, "differs": what} for arm, what in results.get("other_students", {}).items()],
        "runs": flat_rows(results["runs"], "losses"),
        "run_losses": [
            {"arm": run["arm"], "seed": run["seed"], **flat(row)} for run in results["runs"] for row in run["losses"]
        ],
        "losses": per_set(results, "losses", "seeds"),
        "differences": per_set(results, "differences", "seeds", "seed_differences"),
        "pairs": per_set(results, "pairs", "seeds", "seed_differences"),
        "real_curve": per_set(results, "curve"),
        "data_efficiency": per_set(results, "data_efficiency"),
        "seeds_needed": per_set(results, "seeds_needed"),
        "missing": flat_rows(results["missing"]),
    }


SECTION = Section("losses", "Losses", _view, _tables)
