"""The benchmark table: accuracy per arm and task, and the mean error with its standard error.

The standard error of an accuracy over n items is sqrt(p (1 - p) / n); of a mean over tasks, the root of the summed
squares over their number. It covers items, not seeds; seeds are averaged first and counted beside.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from megadocs.report.inputs import BenchmarkResult


def benchmark_table(results: Sequence[BenchmarkResult], arms: Sequence[str]) -> dict[str, Any] | None:
    """Rows per arm, in the order of `arms`; `None` where nothing was scored. Missing cells are `None`."""
    if not results:
        return None
    tasks = list(dict.fromkeys(result.task for result in results))
    chance = {result.task: result.chance for result in results}
    rows = []
    for arm in arms:
        own = [result for result in results if result.arm == arm]
        if own:
            rows.append({"arm": arm, "seeds": len({result.seed for result in own}), **_arm_row(own, tasks)})
    return {"tasks": tasks, "chance": [chance[task] for task in tasks], "rows": rows}


def _arm_row(results: Sequence[BenchmarkResult], tasks: Sequence[str]) -> dict[str, Any]:
    cells: list[float | None] = []
    found, variances = [], []
    for task in tasks:
        scored = [result for result in results if result.task == task]
        if not scored:
            cells.append(None)
            continue
        accuracy = sum(result.accuracy for result in scored) / len(scored)
        cells.append(accuracy)
        found.append(accuracy)
        variances.append(accuracy * (1 - accuracy) / scored[0].num_items)
    if len(found) < len(tasks):
        return {"cells": cells, "error": None, "standard_error": None}
    return {
        "cells": cells,
        "error": 1 - sum(found) / len(found),
        "standard_error": math.sqrt(sum(variances)) / len(found),
    }
