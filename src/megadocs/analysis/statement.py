"""The answer in plain English: what the synthetic text was worth, how sure that is, and what it cost.

Reads the results dictionary only, so that the sentences can be no better than the numbers printed below them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from megadocs.analysis.arm_settings import other_student_sentences, settings_sentences
from megadocs.analysis.control_gate import no_control, passing_arms
from megadocs.analysis.headline import (
    MAX_IN_FIRST,
    by_worth,
    first_sentences,
    is_measured,
    mostly_without_meaning,
    named_first,
)
from megadocs.analysis.method_findings import control_sentences, method_sentences
from megadocs.analysis.results_json import number_of
from megadocs.analysis.sentences import (
    MAX_NAMED,
    arm_names,
    drop_text,
    joined,
    level_text,
    multiple_text,
    ratio_text,
    worth_text,
)
from megadocs.analysis.worth import CURVE_SLACK
from megadocs.kinds import orderings_of_role

_MAX_WORTHS = 12  # different multipliers, or ratios of tokens, in one sentence


def answer_sentences(results: Mapping[str, Any]) -> list[str]:
    """The report's opening: the worth in real data, what is not separated, what the intervals cover, the cost."""
    block = results["sets"][0]
    return [
        *first_sentences(results, block, _claimed(results, block), _not_separated(results, block)),
        *_behind_controls(results, block),
        *_others(results, block),
        *mostly_without_meaning(results, block, _claimed(results, block)),
        *(method_sentences(results, block) if len(_synthetic(results)) > MAX_IN_FIRST else ()),
        *_equivalent(results, block),
        *_worse(results, block),
        *_controls(results, block),
        *no_control(block, _compared(results, block)),
        *control_sentences(results, block),
        *_against_baseline(results, block),
        *_intervals(results, block),
        *_cost(results),
        *other_student_sentences(results),
        *settings_sentences(results),
        *_missing(results),
    ]


def _synthetic(results: Mapping[str, Any], *, is_control: bool = False) -> list[str]:
    """The synthetic arms, or the controls among them; those of another student are not comparable and left out."""
    controls = {spec.name for spec in orderings_of_role("control")}
    return [
        row["arm"]
        for row in results["arms"]
        if row["kind"] == "synthetic"
        and row["arm"] not in results["other_students"]
        and (row["settings"].get("ordering") in controls) == is_control
    ]


def _compared(results: Mapping[str, Any], block: Mapping[str, Any]) -> list[str]:
    """Methods' arms that were scored."""
    scored = {row["arm"] for row in block["losses"]}
    return [arm for arm in _synthetic(results) if arm in scored]


def _claimed(results: Mapping[str, Any], block: Mapping[str, Any]) -> list[str]:
    """Arms that the first sentence is about: those that beat the controls, or all where none does."""
    arms = _synthetic(results)
    return passing_arms(block, arms) or arms


def _behind_controls(results: Mapping[str, Any], block: Mapping[str, Any]) -> list[str]:
    """Arms that did not beat the controls where others did: they are not in the first sentence."""
    arms = _compared(results, block)
    passing = passing_arms(block, arms)
    behind = [arm for arm in arms if arm not in passing]
    if not behind or not passing:
        return []
    verb = "was" if len(behind) == 1 else "were"
    return [f"{arm_names(behind)} {verb} not shown to beat the control {arm_names(block['null_controls'])}."]


def _controls(results: Mapping[str, Any], block: Mapping[str, Any]) -> list[str]:
    """What the controls came to, on the same scale, but for the one in the first sentence."""
    named = named_first(results, block, _claimed(results, block))
    controls = [arm for arm in _synthetic(results, is_control=True) if arm not in named]
    rows = [row for row in block["data_efficiency"] if row["arm"] in controls and row["estimate"] is not None]
    if rows:
        parts = [f"{worth_text(row)} with {row['arm']}" for row in rows[:MAX_NAMED]]
        return [f"Controls came to {joined(parts)}."]
    drops = [row for row in block["differences"] if row["arm"] in controls and is_measured(row)][:MAX_NAMED]
    parts = [f"{drop_text(row)} with {row['arm']}" for row in drops]
    return [f"Controls came to {joined(parts)} against {results['baseline']}."] if parts else []


def _others(results: Mapping[str, Any], block: Mapping[str, Any]) -> list[str]:
    """Of many arms, what those after the best were worth; their intervals are in the table."""
    synthetic = _claimed(results, block)
    rows = [row for row in block["data_efficiency"] if row["arm"] in synthetic and row["estimate"] is not None]
    if len(rows) <= MAX_IN_FIRST:
        return []
    rows.sort(key=by_worth(block))
    arms_of: dict[str, list[str]] = {}
    for row in rows[1:]:
        arms_of.setdefault(multiple_text(row["estimate"]), []).append(row["arm"])
    shown = _MAX_WORTHS if len(arms_of) > _MAX_WORTHS + 1 else len(arms_of)
    parts = [f"{arm_names(arms)} {worth}" for worth, arms in list(arms_of.items())[:shown]]
    left = [arm for arms in list(arms_of.values())[shown:] for arm in arms]
    parts += [f"{len(left)} more arms down to {multiple_text(rows[-1]['estimate'])}"] if left else []
    return [f"The others: {'; '.join(parts)}."]


def _worse(results: Mapping[str, Any], block: Mapping[str, Any]) -> list[str]:
    """Synthetic arms that lost to the baseline beyond noise."""
    arms = _synthetic(results)
    rows = [row for row in block["differences"] if row["arm"] in arms and row["verdict"] == "separated"]
    parts = [f"{row['arm']} ({drop_text(row)})" for row in rows if number_of(row["difference"]) > 0]
    return [f"Worse than {results['baseline']}: {joined(parts)}."] if parts else []


def _against_baseline(results: Mapping[str, Any], block: Mapping[str, Any]) -> list[str]:
    synthetic = [*_synthetic(results), *_synthetic(results, is_control=True)]
    rows = [row for row in block["differences"] if row["arm"] in synthetic and row["verdict"] != "separated"]
    rows = [row for row in rows if is_measured(row)]
    if not rows:
        return []
    verb = "is" if len(rows) == 1 else "are"
    reasons = sorted({row["reason"] for row in rows if row["reason"]})
    because = f" ({'; '.join(reasons)})" if reasons else ""
    return [f"{arm_names([row['arm'] for row in rows])} {verb} not separated from {results['baseline']}{because}."]


def _not_separated(results: Mapping[str, Any], block: Mapping[str, Any]) -> list[str]:
    """Ties among the synthetic arms, controls left out; among many arms, ties with the best."""
    arms = [arm for arm in _synthetic(results) if any(arm == row["arm"] for row in block["losses"])]
    pairs = [row for row in block["pairs"] if row["arm"] in arms and row["reference"] in arms]
    ties = [row for row in pairs if row["verdict"] != "separated" and is_measured(row)]
    if not ties:
        return []
    if block["pairs_of"] == "best" or len(arms) > MAX_IN_FIRST:
        losses = {row["arm"]: number_of(row["loss"]) for row in block["losses"]}
        best = min((arm for arm in arms if math.isfinite(losses[arm])), key=losses.__getitem__, default=arms[0])
        with_best = [row["arm"] if row["reference"] == best else row["reference"] for row in ties if best in _pair(row)]
        return [f"{best} is not separated from {arm_names(with_best)}"] if with_best else []
    names = list(dict.fromkeys(name for row in ties for name in _pair(row)))
    if len(ties) == 1:
        return [f"{names[0]} and {names[1]} are not separated"]
    if len(ties) == len(names) * (len(names) - 1) // 2:
        return [f"{arm_names(names)} are not separated from each other"]
    listed = joined([f"{row['arm']} from {row['reference']}" for row in ties])
    return [f"not separated: {listed}"]


def _equivalent(results: Mapping[str, Any], block: Mapping[str, Any]) -> list[str]:
    """Pairs of arms that were shown to be equal within the margin, which "not separated" does not say."""
    pairs = [f"{row['arm']} and {row['reference']}" for row in block["pairs"] if row["is_equivalent"]]
    if not pairs:
        return []
    shown = pairs[:MAX_NAMED] + ([f"{len(pairs) - MAX_NAMED} more pairs"] if len(pairs) > MAX_NAMED else [])
    return [f"Shown to be equal within {number_of(results['equivalence_margin']):g} nats: {joined(shown)}."]


def _pair(row: Mapping[str, Any]) -> tuple[str, str]:
    return row["arm"], row["reference"]


def _intervals(results: Mapping[str, Any], block: Mapping[str, Any]) -> list[str]:
    counts = sorted({row["num_seeds"] for row in block["losses"]})
    seeds = f"{counts[0]} seed{'s' if counts[0] != 1 else ''}"
    if len(counts) > 1:
        seeds = f"{counts[0]} to {counts[-1]} seeds"
    size = f"{block['num_resampled']} {block['resampled']}, {seeds} per arm"
    text = f"Brackets are {level_text(results['confidence'])} intervals over {results['covers']['difference']} ({size})"
    if block["resampled"] == "blocks":
        num = block["num_sources"]
        text += f"; with {num} source{'s' if num > 1 else ''} nothing follows for other documents"
    if block["data_efficiency"]:
        arms = joined([point["arm"] for point in block["curve"]])
        text += f"; multipliers are interpolated on the measured losses of {arms}, never extrapolated"
        text += _if_curve_lower(block)
    best = block["best"]
    if best is not None and len(_synthetic(results)) > MAX_IN_FIRST:
        text += (
            f". The best arm was picked on these same documents; allowing for the choice among {best['num_arms']} "
            f"arms, {best['arm']} was worth {multiple_text(best['lower'])} to {multiple_text(best['upper'])}"
        )
    return [text + "."]


def _if_curve_lower(block: Mapping[str, Any]) -> str:
    """How much the best multiplier leans on the tuning of the curve's points."""
    rows = [row for row in block["data_efficiency"] if row["estimate"] and row["estimate"]["relation"] == "equal"]
    if not rows:
        return ""
    row = min(rows, key=by_worth(block))
    return (
        f" (were those points past the baseline {CURVE_SLACK:g} nats lower, "
        f"{row['arm']} would be {multiple_text(row['if_curve_lower'])})"
    )


def _cost(results: Mapping[str, Any]) -> list[str]:
    rows = results["more_tokens"]
    if not rows:
        return []
    arms_of: dict[str, list[str]] = {}
    for row in rows:
        arms_of.setdefault(ratio_text(row["ratio"]), []).append(row["arm"])
    shown = _MAX_WORTHS if len(arms_of) > _MAX_WORTHS + 1 else len(arms_of)
    parts = [f"{arm_names(arms)} ({ratio})" for ratio, arms in list(arms_of.items())[:shown]]
    left = [row for row in rows if ratio_text(row["ratio"]) in list(arms_of)[shown:]]
    most = max((number_of(row["ratio"]) for row in left), default=0.0)
    parts += [f"{len(left)} more arms (up to {ratio_text(most)})"] if left else []
    return [f"Trained on more tokens than {results['baseline']}, so not matched in compute: {'; '.join(parts)}."]


def _missing(results: Mapping[str, Any]) -> list[str]:
    num = len(results["missing"])
    if not num:
        return []
    return [f"{num} run{'s are' if num > 1 else ' is'} missing; the numbers are from the runs that finished."]
