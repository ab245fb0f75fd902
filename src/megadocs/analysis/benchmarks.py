"""Benchmarks: accuracy per arm and task, and the mean error with its standard error.

The standard error of an accuracy over n items is sqrt(p (1 - p) / n); of a mean over tasks, the root of the summed
squares over their number. It covers items, not seeds; seeds are averaged first and each stands beside the mean.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from megadocs.analysis.results_json import json_form


@dataclass(frozen=True, slots=True)
class BenchmarkScore:
    """Accuracy of one model, or of one ensemble, on one benchmark."""

    arm: str  # the arm, or the ensemble's name
    seed: int | None  # None for an ensemble
    task: str  # "piqa", "sciq", "arc_easy"
    accuracy: float  # share of items answered right, in [0, 1] (by summed log-likelihood, as the paper scores)
    num_items: int
    chance: float | None = None
    accuracy_normalised: float | None = None  # by log-likelihood per byte of the answer; None where it was not scored
    record: str | None = None  # path of the score's record, relative to the workspace
    num_truncated: int = 0  # prompts that were cut to the model's context


def benchmark_results(scores: Sequence[BenchmarkScore], arms: Sequence[str]) -> dict[str, Any] | None:
    """The key `benchmarks` of the results; None where nothing was scored.

    Args:
        scores: one per model and task.

    Returns:
        `tasks`, `chance`, `rows` [{arm, num_seeds, cells, truncated, error, standard_error, seed_errors}] and `scores`.
        What was not scored is None, and so is an error that would need it; `truncated` is, for each task, how many
        prompts of one model were cut to its context.
    """
    if not scores:
        return None
    tasks = list(dict.fromkeys(score.task for score in scores))
    chance = {score.task: score.chance for score in scores}
    names = dict.fromkeys([*arms, *(score.arm for score in scores)])
    own = {name: [score for score in scores if score.arm == name] for name in names}
    rows = [{"arm": name, **_row(found, tasks)} for name, found in own.items() if found]
    return {
        "tasks": tasks,
        "chance": [chance[task] for task in tasks],
        "rows": rows,
        "scores": json_form(list(scores)),
    }


def _row(scores: Sequence[BenchmarkScore], tasks: Sequence[str]) -> dict[str, Any]:
    seeds = list(dict.fromkeys(score.seed for score in scores))
    cells: list[float | None] = []
    variances = []
    for task in tasks:
        found = [score for score in scores if score.task == task]
        accuracy = sum(score.accuracy for score in found) / len(found) if found else None
        cells.append(accuracy)
        if accuracy is not None:
            variances.append(accuracy * (1 - accuracy) / found[0].num_items)
    known = [cell for cell in cells if cell is not None]
    is_whole = len(known) == len(tasks)
    return {
        "num_seeds": len(seeds),
        "cells": cells,
        "truncated": [max((s.num_truncated for s in scores if s.task == task), default=0) for task in tasks],
        "error": 1 - sum(known) / len(known) if is_whole else None,
        "standard_error": math.sqrt(sum(variances)) / len(known) if is_whole else None,
        "seed_errors": [
            {"seed": seed, "error": error} for seed in seeds if (error := _error(scores, tasks, seed)) is not None
        ],
    }


def _error(scores: Sequence[BenchmarkScore], tasks: Sequence[str], seed: int | None) -> float | None:
    found = {score.task: score.accuracy for score in scores if score.seed == seed}
    return 1 - sum(found.values()) / len(tasks) if len(found) == len(tasks) else None
