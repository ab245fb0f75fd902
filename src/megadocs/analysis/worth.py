"""What each synthetic arm was worth in real data, with everything that makes that number uncertain.

    rows = worth_rows(table, curve_tokens, baseline, config)   # "curve", "data_efficiency", "no_data_efficiency"

Intervals come from joint draws of all arms' losses: multivariate t over documents (`document_noise`), and seed noise on
the arm and on every point of the curve. `best` is the interval of the best arm with a correction for its having been
chosen among k on these same documents: at 1 - (1 - confidence) / k, which holds for all k at once (Bonferroni).
An arm of one run whose noise may not be borrowed from others has no interval. `if_curve_lower` is the multiplier if
every point of the curve past the baseline had been better by 0.02 nats, as it might be after another step of its
search: the curve's own tuning is the assumption that a reader cannot see.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from megadocs.analysis.efficiency import RealCurve, measured_multiple, multiple_interval, seed_noise_draws
from megadocs.analysis.paired import PairedLosses
from megadocs.recipe import AnalysisConfig
from megadocs.seeding import derive_seed

#: Nats by which the curve's points may be untuned, for the table's column.
CURVE_SLACK = 0.02
#: Fewest draws: an end of a 95 % interval is the 250th from either side, within about 6 % of its distance.
MIN_DRAWS = 10_000


def draws_taken(config: AnalysisConfig) -> int:
    """Draws that intervals of multipliers rest on: as many as the recipe asks for, and never fewer than enough."""
    return max(config.num_bootstrap, MIN_DRAWS)


def worth_rows(
    table: PairedLosses,
    curve_tokens: Mapping[str, float],
    set_name: str,
    config: AnalysisConfig,
    other_students: Collection[str] = (),
) -> dict[str, Any]:
    """The curve and the multiplier of every other arm.

    Args:
        curve_tokens: arm of the real-only curve -> its real tokens, ascending; arms without runs are left out.
        set_name: enters the seed of the draws.
        other_students: arms that have no multiplier: another model at the same loss is worth no real data.
    """
    arms = list(dict.fromkeys(arm for arm, _ in table.runs))
    means = {arm: table.arm_loss(arm) for arm in arms}
    names = [arm for arm in curve_tokens if arm in means]
    points = [{"arm": arm, "real_tokens": curve_tokens[arm], "loss": means[arm]} for arm in names]
    found: dict[str, Any] = {"curve": points, "data_efficiency": [], "no_data_efficiency": None, "best": None}
    if config.baseline not in names or len(names) < 2:
        reason = "needs the baseline and at least one real-only arm with more documents"
        return {**found, "no_data_efficiency": reason}
    curve = RealCurve(
        tuple(names),
        np.asarray([curve_tokens[arm] for arm in names]),
        np.asarray([means[arm] for arm in names]),
        names.index(config.baseline),
    )
    if not curve.is_falling():
        reason = "the measured real-only loss does not fall with every increase of real documents"
        if not np.all(np.isfinite(curve.losses)):
            reason = f"the loss of {names[int(np.argmin(np.isfinite(curve.losses)))]}, on that curve, is not a number"
        return {**found, "no_data_efficiency": reason}
    others = [arm for arm in arms if arm not in names and arm not in other_students]
    return {**found, **_multiples(table, curve, others, means, set_name, config)}


def _multiples(
    table: PairedLosses,
    curve: RealCurve,
    others: Sequence[str],
    means: Mapping[str, float],
    set_name: str,
    config: AnalysisConfig,
) -> dict[str, Any]:
    num_draws = draws_taken(config)
    arms = [*curve.arms, *others]
    weights = np.stack([table.arm_weights(arm) for arm in arms], axis=1)
    finite = np.where(np.isfinite(table.losses), table.losses, 0.0)  # a run that is NaN says so in its arm's mean
    draws = finite @ weights + table.documents.draws(
        weights, num_draws, derive_seed(config.seed, "documents", set_name)
    )
    num_seeds = [len(table.arm_runs(arm)) for arm in arms]
    noise = [table.seeds.of_arm(arm) for arm in arms]
    has_interval = _has_interval(table, curve.arms, others)
    draws += seed_noise_draws(noise, num_seeds, num_draws, derive_seed(config.seed, "seed noise"))
    curve_draws = draws[:, : len(curve.arms)]
    lower_curve = replace(curve, losses=curve.losses - CURVE_SLACK * (np.arange(len(curve.arms)) > curve.baseline))
    choice = 1 - (1 - config.confidence) / max(len(others), 1)
    rows: list[dict[str, Any]] = []
    best: dict[str, Any] | None = None
    lowest = np.inf
    for index, arm in enumerate(others, start=len(curve.arms)):
        estimate = measured_multiple(means[arm], curve)
        low, high = None, None
        if estimate is not None and arm in has_interval:
            low, high = multiple_interval(draws[:, index], curve_draws, curve, config.confidence)
        slack = measured_multiple(means[arm], lower_curve)
        rows.append({"arm": arm, "estimate": estimate, "lower": low, "upper": high, "if_curve_lower": slack})
        if estimate is not None and means[arm] < lowest:
            lowest = means[arm]
            low, high = multiple_interval(draws[:, index], curve_draws, curve, choice)
            best = {"arm": arm, "lower": low, "upper": high, "num_arms": len(others)}
    return {"data_efficiency": rows, "best": best if best and best["arm"] in has_interval else None}


def _has_interval(table: PairedLosses, curve: Sequence[str], others: Sequence[str]) -> set[str]:
    """Arms whose multiplier has an interval: none in which one arm's seed noise counts and another's is not known."""
    known = {arm: table.seeds.of_arm(arm).variance is not None for arm in (*curve, *others)}
    if not table.documents.is_known:
        return set()
    if not any(known.values()):  # no arm's is: the intervals cover documents alone, and the answer says so
        return set(others)
    return {arm for arm in others if known[arm] and all(known[name] for name in curve)}
