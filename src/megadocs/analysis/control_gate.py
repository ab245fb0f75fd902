"""The controls that could kill the claim: does an arm beat text without meaning?

A baseline that is badly tuned makes any additional text look good, rephrases with their words shuffled as well as the
rephrases themselves. So a multiplier is the answer only for arms that beat
every null control (`OrderingSpec.is_null`: shuffled words, copies of the source). An arm beats them all where the
largest of its p-values is small (an intersection-union test needs no correction for the number of controls); Holm's
correction is over the arms.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from megadocs.analysis.paired import Difference, PairedLosses, holm, paired_difference
from megadocs.analysis.results_json import number_of
from megadocs.kinds import orderings_of_role
from megadocs.recipe import AnalysisConfig


def null_orderings() -> set[str]:
    """Names of the orderings whose text says nothing that the source does not."""
    return {spec.name for spec in orderings_of_role("control") if spec.is_null}


def control_rows(
    table: PairedLosses, methods: Sequence[str], controls: Sequence[str], config: AnalysisConfig
) -> list[dict[str, Any]]:
    """For each arm of a method, whether it beats every null control.

    Args:
        methods: synthetic arms that are no controls.

    Returns:
        One row an arm: `arm`, `beats`, `p_holm` (None where an arm or its seeds could not be compared), and
        `against`, its differences to the controls.
    """
    against: dict[str, list[Difference]] = {}
    for arm in methods:
        found = [paired_difference(table, arm, control, config.confidence) for control in controls]
        against[arm] = [difference for difference in found if difference is not None]
    adjusted = holm([_largest(against[arm], len(controls)) for arm in methods])
    level = 1 - config.confidence
    return [
        {
            "arm": arm,
            "beats": p_holm is not None and p_holm < level and all(entry.difference < 0 for entry in against[arm]),
            "p_holm": p_holm,
            "against": against[arm],
        }
        for arm, p_holm in zip(methods, adjusted, strict=True)
    ]


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


def failed_gate(block: Mapping[str, Any], arms: Sequence[str]) -> str | None:
    """The first sentence where no arm beats the controls; None where one does or there is no control."""
    if not block["null_controls"] or not arms or passing_arms(block, arms):
        return None
    names = " and ".join(block["null_controls"])
    measured = [row for row in block["controls"] if row["p_holm"] is not None]
    how = "was shown to beat" if measured else "could be compared with"
    best = [
        f"{entry['arm']} against {entry['reference']} {number_of(entry['difference']):+.3f} nats "
        f"[{number_of(entry['interval'][0]):+.3f}, {number_of(entry['interval'][1]):+.3f}]"
        for row in measured
        for entry in row["against"]
    ]
    detail = f" ({'; '.join(best[:4])})" if best else ""
    return (
        f"No synthetic arm {how} text without meaning, the control {names}{detail}: whatever the numbers below say "
        "of settings and baseline, they do not show that what the synthetic text says was worth anything."
    )


def no_control(block: Mapping[str, Any], arms: Sequence[str]) -> list[str]:
    """Said in the answer where nothing could have killed the claim."""
    if block["null_controls"] or not arms:
        return []
    return [
        "No control without meaning was trained (an arm with stream.ordering=shuffled_words): a badly tuned baseline "
        "would make any additional text look good, and nothing here would show it."
    ]
