"""Tables beside the paper's figures: best settings, controlled against tuned, students, and runs of equal compute.

All of them are read off the results; differences without an interval of their own are means over the seeds that both
arms have, each seed's difference beside them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from megadocs.analysis.paper_arms import (
    SETTINGS,
    ArmView,
    arm_views,
    controlled_arms,
    is_untuned,
    of_baseline_size,
    tuned_arms,
)
from megadocs.analysis.published import load_published
from megadocs.analysis.results_json import number_of

#: Runs whose compute differs by less than this share count as matched.
_MATCHED = 0.03


def best_settings(results: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Per method and number of generations: the tuned arm's settings beside the published ones."""
    published = load_published()["best_settings"]
    rows = []
    for arm in tuned_arms(_synthetic(results)):
        generations = arm.get("num_generations")
        beside = published.get(arm.method, {})
        values = beside.get(str(generations)) if isinstance(beside, dict) else None
        own = [arm.get(key) for key in SETTINGS]
        rows.append(
            {"arm": arm.arm, "method": arm.method, "num_generations": generations, "own": own, "published": values}
        )
    return rows


def _synthetic(results: Mapping[str, Any]) -> list[ArmView]:
    """The synthetic arms with a student of the baseline's size."""
    views = of_baseline_size(arm_views(results), results["baseline"])
    return [view for view in views if view.facts["kind"] == "synthetic"]


def controlled_against_tuned(results: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Per method and number of generations: the tuned arm beside the one with the settings of most methods.

    Rows where both are one arm are kept; empty where no two methods share their settings, and where nothing was tuned:
    one arm each, of one setting at each G.
    """
    synthetic = _synthetic(results)
    controlled = {(arm.method, arm.get("num_generations")): arm for arm in controlled_arms(synthetic)}
    if len(controlled) < 2 or is_untuned(synthetic):
        return []
    rows = []
    for arm in tuned_arms(synthetic):
        same = controlled.get((arm.method, arm.get("num_generations")))
        rows.append(
            {
                "method": arm.method,
                "num_generations": arm.get("num_generations"),
                "tuned_arm": arm.arm,
                "tuned_loss": arm.loss,
                "tuned_flops": arm.compute,
                "tuned": [arm.get(key) for key in SETTINGS],
                "controlled_arm": same.arm if same else None,
                "controlled_loss": same.loss if same else None,
                "controlled_flops": same.compute if same else None,
                "controlled": [same.get(key) for key in SETTINGS] if same else None,
            }
        )
    return rows


def student_scaling(results: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Per student size and method: the tuned arm's loss, and how far it lies below real text alone at that size.

    Empty where all students have one size.
    """
    views = arm_views(results)
    base = next((view.facts["real_tokens"] for view in views if view.arm == results["baseline"]), None)
    arms = tuned_arms([view for view in views if view.facts["real_tokens"] == base])
    if len({arm.get("num_parameters") for arm in arms}) < 2:
        return []
    real = {arm.get("num_parameters"): arm for arm in arms if arm.method == "real_only"}
    rows = []
    for arm in sorted(arms, key=lambda arm: (arm.get("num_parameters") or 0, arm.method != "real_only")):
        beside = real.get(arm.get("num_parameters"))
        seeds = _seed_differences(results, arm, beside) if beside is not None and beside is not arm else {}
        rows.append(
            {
                "num_parameters": arm.get("num_parameters"),
                "method": arm.method,
                "num_generations": arm.get("num_generations"),
                "arm": arm.arm,
                "loss": arm.loss,
                "real_only_arm": beside.arm if beside else None,
                "difference": sum(seeds.values()) / len(seeds) if seeds else None,
                "seeds": list(seeds),
                "seed_differences": list(seeds.values()),
            }
        )
    return rows


def compute_groups(results: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Arms over equal compute, in groups within 3 %, cheapest first; every arm with what it cost.

    Within a group `difference` is against its arm of real text alone, else against its first arm (`reference`), among
    the arms on the baseline's real documents; arms on more real text are listed and not compared
    (`has_other_documents`). `interval` and `verdict` are those of the analysis where it compared the same two arms.
    Arms whose compute was not recorded are left out.
    """
    base = next((row.get("real_tokens") for row in results["arms"] if row["arm"] == results["baseline"]), None)
    arms = sorted((view for view in arm_views(results) if view.compute), key=lambda view: view.compute or 0.0)
    groups: list[list[ArmView]] = []
    for arm in arms:
        if groups and (arm.compute or 0.0) <= (groups[-1][0].compute or 0.0) * (1 + _MATCHED):
            groups[-1].append(arm)
        else:
            groups.append([arm])
    rows = []
    for index, members in enumerate(groups):
        same = [arm for arm in members if arm.facts["real_tokens"] == base]
        reference = next(iter([arm for arm in same if arm.method == "real_only"] or same), None)
        for arm in members:
            other = reference if arm in same and arm is not reference else None
            seeds = _seed_differences(results, arm, other) if other else {}
            rows.append(
                {
                    "group": index,
                    "num_in_group": len(members),
                    "arm": arm.arm,
                    "flops": arm.compute,
                    "train_tokens": arm.facts.get("train_tokens"),
                    "seconds": arm.facts.get("seconds"),
                    "loss": arm.loss,
                    "reference": other.arm if other else None,
                    "is_reference": arm is reference and len(same) > 1,
                    "has_other_documents": arm not in same,
                    "difference": sum(seeds.values()) / len(seeds) if seeds else None,
                    **_tested(results, arm.arm, other.arm if other else None),
                    "seeds": list(seeds),
                    "seed_differences": list(seeds.values()),
                }
            )
    return rows


def _tested(results: Mapping[str, Any], arm: str, reference: str | None) -> dict[str, Any]:
    """Interval and verdict of arm minus reference, from the analysis' differences and pairs, either way round."""
    block = results["sets"][0]
    for row in (*block.get("differences", ()), *block.get("pairs", ())):
        if (row["arm"], row["reference"]) == (arm, reference):
            return {"interval": row["interval"], "verdict": row["verdict"]}
        if (row["arm"], row["reference"]) == (reference, arm):
            low, high = (number_of(value) for value in row["interval"])
            return {"interval": [-high, -low], "verdict": row["verdict"]}
    return {"interval": None, "verdict": None}


def _seed_differences(results: Mapping[str, Any], arm: ArmView, reference: ArmView) -> dict[int, float]:
    """Seed -> loss of an arm minus that of another, over the seeds that both have."""
    losses = {row["arm"]: row for row in results["sets"][0]["losses"]}
    own, other = (
        {seed["seed"]: number_of(seed["loss"]) for seed in losses[view.arm]["seeds"]} for view in (arm, reference)
    )
    return {seed: own[seed] - other[seed] for seed in sorted(own.keys() & other.keys())}
