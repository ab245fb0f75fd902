"""Arms as the paper's figures need them: their settings beside their losses, and which of them count as tuned.

    views = arm_views(results)
    tuned_arms(views), controlled_arms(views), is_untuned(views)

Tuning looks at the *validation* loss only; what is shown of the chosen arm is its headline loss.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from megadocs.analysis.results_json import number_of

SETTINGS = ("planned_real_epochs", "synthetic_fraction", "learning_rate", "weight_decay")


@dataclass(frozen=True, slots=True)
class ArmView:
    """An arm as the figures need it."""

    arm: str
    method: str
    facts: Mapping[str, Any]
    settings: Mapping[str, Any]
    loss: float
    low: float
    high: float
    validation: float

    def get(self, key: str) -> Any:
        """A setting, or a fact where there is no such setting; `None` where neither is known."""
        return self.settings[key] if key in self.settings else self.facts.get(key)

    @property
    def compute(self) -> float | None:
        """Training compute in FLOPs: as recorded, else 6 x parameters x tokens."""
        if self.facts.get("flops") is not None:
            return number_of(self.facts["flops"])
        parameters, tokens = self.facts.get("num_parameters"), self.facts.get("train_tokens")
        return None if parameters is None or tokens is None else 6.0 * parameters * tokens


def arm_views(results: Mapping[str, Any]) -> list[ArmView]:
    """The arms with finite losses, joined with their settings and their validation loss."""
    block = results["sets"][0]
    mode = block["mode"]
    validation = next((b for b in results["sets"] if b["set"] == "validation" and b["mode"] == mode), block)
    chosen_by = {row["arm"]: number_of(row["loss"]) for row in validation["losses"]}
    losses = {row["arm"]: row for row in block["losses"]}
    views = []
    for facts in results["arms"]:
        row = losses.get(facts["arm"])
        if row is None or not math.isfinite(number_of(row["loss"])):
            continue
        seeds = [number_of(seed["loss"]) for seed in row["seeds"]]
        settings = facts.get("settings", {})
        method = str(settings.get("ordering") or "real_only")
        loss = number_of(row["loss"])
        chosen = chosen_by.get(facts["arm"], math.inf)
        views.append(ArmView(facts["arm"], method, facts, settings, loss, min(seeds), max(seeds), chosen))
    return views


def of_baseline_size(arms: Sequence[ArmView], baseline: str) -> list[ArmView]:
    """The arms whose student is as large as the baseline's: losses of two sizes are no series over anything else."""
    sizes = [arm.get("num_parameters") for arm in arms if arm.arm == baseline]
    return [arm for arm in arms if not sizes or arm.get("num_parameters") == sizes[0]]


def differing_only_in(key: str, arms: Sequence[ArmView]) -> list[ArmView]:
    """Per method and number of generations the largest group of arms that agree in every setting but one.

    Args:
        key: one of `SETTINGS`.
        arms: of one student size; ablations are left out.

    Returns:
        Arms of groups with at least two values of `key`.
    """
    groups: dict[tuple[Any, ...], dict[tuple[Any, ...], dict[Any, ArmView]]] = {}
    for arm in _candidates(arms):
        rest = tuple(str(arm.get(other)) for other in SETTINGS if other != key)
        values = groups.setdefault((arm.method, arm.get("num_generations")), {}).setdefault(rest, {})
        values.setdefault(arm.get(key), arm)
    largest = [max(found.values(), key=len) for found in groups.values()]
    return [arm for values in largest if len(values) > 1 for arm in values.values()]


def tuned_arms(arms: Sequence[ArmView]) -> list[ArmView]:
    """Per method, number of generations and student the arm with the lowest validation loss."""
    best: dict[tuple[Any, ...], ArmView] = {}
    for arm in _candidates(arms):
        key = (arm.method, arm.get("num_generations"), arm.get("num_parameters"))
        if key not in best or arm.validation < best[key].validation:
            best[key] = arm
    return list(best.values())


def _candidates(arms: Sequence[ArmView]) -> list[ArmView]:
    """The arms that tuning chooses among: ablations are not."""
    return [
        arm
        for arm in arms
        if arm.get("real_document") not in ("first", "none", "random")
        and arm.get("attention_boundary") not in ("row", "document")
        and arm.get("separate_real_stream") is not False
    ]


def is_untuned(arms: Sequence[ArmView]) -> bool:
    """Whether every method and number of generations has one arm, and at each G all have the same settings."""
    tuned = {arm.arm for arm in tuned_arms(arms)}
    return tuned == {arm.arm for arm in controlled_arms(arms)} and len(tuned) == len(_candidates(arms))


def controlled_arms(arms: Sequence[ArmView]) -> list[ArmView]:
    """Per number of generations the arms of the settings that most methods share, simple's among equals.

    The authors' controlled figure holds stitched and latent runs at simple's best settings of the same G (section 7 of
    docs/facts.md): settings may differ between numbers of generations, never within one. A G at which no two methods
    share their settings has none.
    """
    cells: dict[Any, dict[tuple[Any, ...], dict[str, ArmView]]] = {}
    for arm in arms:
        settings = tuple(str(arm.get(key)) for key in SETTINGS)
        cells.setdefault(arm.get("num_generations"), {}).setdefault(settings, {}).setdefault(arm.method, arm)
    chosen = [max(groups.values(), key=lambda group: (len(group), "simple" in group)) for groups in cells.values()]
    return [arm for group in chosen if len(group) > 1 for arm in group.values()]
