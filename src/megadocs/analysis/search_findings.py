"""What the searches of a workspace say about the arms of its report.

    results["warnings"] += search_warnings(results)

An arm that was not trained with the best setting that a search found for it looks worse than it is, and a baseline that
was not makes every multiplier look better: a multiplier compares two recipes, settings included.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from megadocs.analysis.results_json import number_of

#: Seed noise of one run, in standard deviations, by which a search's best must lie below the arm's mean.
_MIN_NOISE = 2.0


def search_warnings(results: Mapping[str, Any]) -> list[str]:
    """A sentence for each arm whose search found a setting with a lower validation loss than the arm has.

    Args:
        results: of the analysis, with `searches`. Arms go by their names: a search names the arms of its recipe.
    """
    mode = results["headline"]["mode"]
    block = next((b for b in results["sets"] if (b["set"], b["mode"]) == ("validation", mode)), None)
    if block is None:
        return []
    own = {row["arm"]: number_of(row["loss"]) for row in block["losses"]}
    facts = {row["arm"]: row for row in results.get("arms", ())}
    margin = _MIN_NOISE * number_of(block["seed_sd"]) if block["seed_sd"] is not None else 0.0
    sentences = []
    for search in results.get("searches", ()):
        found, arm = search["certificate"], search["arm"]
        if arm not in own or found.get("loss") is None or not number_of(found["loss"]) < own[arm] - margin:
            continue
        if _is_set_so(facts.get(arm, {}), found["setting"]):
            continue  # other seeds of the same setting, or its own loss
        setting = ", ".join(
            f"{key.rpartition('.')[2].replace('_', ' ')} {number_of(value):g}"
            for key, value in found["setting"].items()
        )
        effect = (
            "the multipliers here are likely too large"
            if arm == results["baseline"]
            else "its worth here is likely an underestimate"
        )
        sentences.append(
            f"The search {search['search']} found a better setting for {arm} ({setting}: validation loss "
            f"{number_of(found['loss']):.3f}) than the arm of that name has here ({own[arm]:.3f}): {effect}."
        )
    return sentences


def _is_set_so(facts: Mapping[str, Any], setting: Mapping[str, Any]) -> bool:
    """Whether an arm was trained with exactly this setting; a key that results do not hold counts as another."""
    known = {**facts.get("settings", {}), "real_epochs": facts.get("planned_real_epochs")}
    values = [(known.get(key.rpartition(".")[2]), wanted) for key, wanted in setting.items()]
    return bool(values) and all(
        own is not None and math.isclose(number_of(own), number_of(wanted)) for own, wanted in values
    )
