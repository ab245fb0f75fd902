"""The controls that could kill the claim: does an arm beat text without meaning?

A baseline that is badly tuned makes any additional text look good, rephrases with their words shuffled as well as the
rephrases themselves. So a multiplier is the answer only for arms that beat
every null control (`OrderingSpec.is_null`: shuffled words, copies of the source). An arm beats them all where the
largest of its p-values is small (an intersection-union test needs no correction for the number of controls); Holm's
correction is over the arms. `takes_most` is the other question: how much of a gain that is shown the strongest control
has, too.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from megadocs.analysis.gain_share import gain_share
from megadocs.analysis.paired import Difference, PairedLosses, holm, paired_difference
from megadocs.analysis.results_json import number_of
from megadocs.analysis.sentences import drop_text
from megadocs.kinds import orderings_of_role
from megadocs.recipe import AnalysisConfig

#: Share of an arm's gain from which on the first sentence gives the control beside the arm.
MOST_OF_GAIN = 0.5


def null_texts() -> dict[str, str]:
    """Orderings whose text says nothing that the source does not, and what that text is, in words."""
    return {spec.name: spec.null_text for spec in orderings_of_role("control") if spec.is_null}


def control_rows(
    table: PairedLosses, methods: Sequence[str], controls: Sequence[str], config: AnalysisConfig
) -> list[dict[str, Any]]:
    """For each arm of a method, whether it beats every null control.

    Args:
        methods: synthetic arms that are no controls.

    Returns:
        One row an arm: `arm`, `beats`, `p_holm` (None where an arm or its seeds could not be compared),
        `gain_share`, the strongest control's gain over the baseline as a share of the arm's (None where the arm has
        gained nothing, or a loss is missing), with `gain_share_interval` (None where noise is not measured, infinite
        where the arm's gain is not told from 0), and `against`, its differences to the controls.
    """
    against: dict[str, list[Difference]] = {}
    for arm in methods:
        found = [paired_difference(table, arm, control, config.confidence) for control in controls]
        against[arm] = [difference for difference in found if difference is not None]
    adjusted = holm([_largest(against[arm], len(controls)) for arm in methods])
    level = 1 - config.confidence
    strongest = strongest_control(table, controls)
    shares = {arm: gain_share(table, arm, strongest, config.baseline, config.confidence) for arm in methods}
    return [
        {
            "arm": arm,
            "beats": p_holm is not None and p_holm < level and all(entry.difference < 0 for entry in against[arm]),
            "p_holm": p_holm,
            "gain_share": None if (share := shares[arm]) is None else share.value,
            "gain_share_interval": None if share is None else share.interval,
            "against": against[arm],
        }
        for arm, p_holm in zip(methods, adjusted, strict=True)
    ]


def strongest_control(table: PairedLosses, controls: Sequence[str]) -> str | None:
    """The control with the lowest loss; None where none has one."""
    losses = {arm: table.arm_loss(arm) for arm in controls}
    return min((arm for arm in controls if math.isfinite(losses[arm])), key=losses.__getitem__, default=None)


def takes_most(row: Mapping[str, Any]) -> bool:
    """Whether the strongest control has at least half of an arm's gain: one row of `control_rows`, as JSON."""
    return row["gain_share"] is not None and number_of(row["gain_share"]) >= MOST_OF_GAIN


def _largest(against: Sequence[Difference], num_controls: int) -> float | None:
    """The largest p-value of an arm's comparisons; None unless it has one with every control."""
    values = [difference.p_value for difference in against if difference.p_value is not None]
    return max(values) if values and len(values) == num_controls else None


def passing_arms(block: Mapping[str, Any], arms: Sequence[str]) -> list[str]:
    """The arms whose multiplier may be claimed: those that beat the controls; all where no control was trained."""
    if not block["null_controls"]:
        return list(arms)
    beaten = {row["arm"] for row in block["controls"] if row["beats"]}
    return [arm for arm in arms if arm in beaten]


@dataclass(frozen=True, slots=True)
class FailedGate:
    """Both ends of the first sentence where no arm beats the controls."""

    start: str
    end: str


def failed_gate(block: Mapping[str, Any], arms: Sequence[str]) -> FailedGate | None:
    """What the first sentence says where no arm beats the controls; None where one does or there is no control."""
    if not block["null_controls"] or not arms or passing_arms(block, arms):
        return None
    measured = [row for row in block["controls"] if row["p_holm"] is not None]
    how = "was shown to beat" if measured else "could be compared with"
    best = [
        f"{entry['arm']} against {entry['reference']} {drop_text(entry)}"
        for row in measured
        for entry in row["against"]
    ]
    detail = f" ({'; '.join(best[:4])})" if best else ""
    return FailedGate(
        f"No synthetic arm {how} text without meaning, the control {' and '.join(block['null_controls'])}",
        f"{detail}; whatever these numbers say of settings and baseline, they do not show that what the synthetic text "
        "says was worth anything",
    )


def no_control(block: Mapping[str, Any], arms: Sequence[str]) -> list[str]:
    """Said in the answer where nothing could have killed the claim."""
    if block["null_controls"] or not arms:
        return []
    return [
        "No control without meaning was trained (an arm with stream.ordering=shuffled_words): a badly tuned baseline "
        "would make any additional text look good, and nothing here would show it."
    ]
