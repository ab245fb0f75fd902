"""The answer in plain English: what the synthetic text was worth, how sure that is, and what it cost.

Reads the results dictionary only, so that the sentences can be no better than the numbers printed below them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from megadocs.analysis.arm_settings import other_student_sentences, settings_sentences
from megadocs.analysis.control_gate import failed_gate, no_control, passing_arms
from megadocs.analysis.method_findings import control_sentences, method_sentences
from megadocs.analysis.results_json import number_of
from megadocs.analysis.sentences import joined
from megadocs.analysis.worth import CURVE_SLACK
from megadocs.kinds import orderings_of_role

_MAX_NAMED = 6  # arms named in one sentence; the tables have all
_MAX_WORTHS = 12  # different multipliers, or ratios of tokens, in one sentence
_MAX_IN_ALL_PAIRS = 4  # of more arms only those that are not separated from the best are named
_SETS = {"test": "held-out test", "validation": "validation"}


def answer_sentences(results: Mapping[str, Any]) -> list[str]:
    """The report's opening: the worth in real data, what is not separated, what the intervals cover, the cost."""
    block = results["sets"][0]
    first = "; ".join([_worth(results, block), *_not_separated(results, block)])
    failed = failed_gate(block, _compared(results, block))
    return [
        *([failed] if failed else []),
        f"{first}.",
        *_behind_controls(results, block),
        *_others(results, block),
        *(method_sentences(results, block) if len(_synthetic(results)) > _MAX_IN_ALL_PAIRS else ()),
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
    return [f"{_names(behind)} {verb} not shown to beat the control {_names(block['null_controls'])}."]


def is_measured(row: Mapping[str, Any]) -> bool:
    """Whether a comparison has a number: it has none where a run's loss is NaN or infinite."""
    return math.isfinite(number_of(row["difference"]))


def _controls(results: Mapping[str, Any], block: Mapping[str, Any]) -> list[str]:
    """What the controls came to, on the same scale."""
    controls = _synthetic(results, is_control=True)
    rows = [row for row in block["data_efficiency"] if row["arm"] in controls and row["estimate"] is not None]
    if rows:
        return [f"Controls came to {joined([_worth_part(row, '') for row in rows[:_MAX_NAMED]])}."]
    drops = [row for row in block["differences"] if row["arm"] in controls and is_measured(row)][:_MAX_NAMED]
    parts = [f"{_signed(row['difference'])} nats {_span(row['interval'])} with {row['arm']}" for row in drops]
    return [f"Controls came to {joined(parts)} against {results['baseline']}."] if parts else []


def _worth(results: Mapping[str, Any], block: Mapping[str, Any]) -> str:
    synthetic = _claimed(results, block)
    rows = [row for row in block["data_efficiency"] if row["arm"] in synthetic and row["estimate"] is not None]
    if rows:
        rows.sort(key=_by_worth(block))
        if len(rows) > _MAX_IN_ALL_PAIRS:
            return f"Synthetic text was worth {_worth_part(rows[0], ' the real data')}, the best of {len(rows)} arms"
        parts = [_worth_part(row, "" if index else " the real data") for index, row in enumerate(rows)]
        return f"Synthetic text was worth {joined(parts)}"
    drops = [row for row in block["differences"] if row["arm"] in synthetic and is_measured(row)]
    if not drops:
        return _no_worth(results, block, synthetic)
    shown = sorted(drops, key=lambda row: number_of(row["difference"]))[:_MAX_NAMED]
    parts = [f"{_signed(row['difference'])} nats {_span(row['interval'])} with {row['arm']}" for row in shown]
    reason = block["no_data_efficiency"] or "no multiplier can be read off the real-only curve"
    where = _SETS.get(block["set"], block["set"])
    return (
        f"Synthetic text changed the {where} loss per token against {results['baseline']} by {joined(parts)}; "
        f"what that is worth in real data is not known ({reason})"
    )


def _no_worth(results: Mapping[str, Any], block: Mapping[str, Any], synthetic: Sequence[str]) -> str:
    """Why there is no comparison at all."""
    losses = {row["arm"]: number_of(row["loss"]) for row in block["losses"]}
    baseline = results["baseline"]
    if not synthetic and any(arm in losses for arm in results["other_students"]):
        return f"No synthetic arm trains the student of {baseline}, so what the synthetic text was worth is not known"
    if not any(arm in losses for arm in synthetic):
        return "There is no finished synthetic arm to compare with the baseline yet"
    if baseline not in losses:
        return f"The baseline {baseline} has no finished run, so what the synthetic text was worth is not known"
    who = f"the baseline {baseline}" if not math.isfinite(losses[baseline]) else "every synthetic arm"
    return f"The loss of {who} is not a number, so what the synthetic text was worth is not known"


def _others(results: Mapping[str, Any], block: Mapping[str, Any]) -> list[str]:
    """Of many arms, what those after the best were worth; their intervals are in the table."""
    synthetic = _claimed(results, block)
    rows = [row for row in block["data_efficiency"] if row["arm"] in synthetic and row["estimate"] is not None]
    if len(rows) <= _MAX_IN_ALL_PAIRS:
        return []
    rows.sort(key=_by_worth(block))
    arms_of: dict[str, list[str]] = {}
    for row in rows[1:]:
        arms_of.setdefault(multiple_text(row["estimate"]), []).append(row["arm"])
    shown = _MAX_WORTHS if len(arms_of) > _MAX_WORTHS + 1 else len(arms_of)
    parts = [f"{_names(arms)} {worth}" for worth, arms in list(arms_of.items())[:shown]]
    left = [arm for arms in list(arms_of.values())[shown:] for arm in arms]
    parts += [f"{len(left)} more arms down to {multiple_text(rows[-1]['estimate'])}"] if left else []
    return [f"The others: {'; '.join(parts)}."]


def _worse(results: Mapping[str, Any], block: Mapping[str, Any]) -> list[str]:
    """Synthetic arms that lost to the baseline beyond noise."""
    arms = _synthetic(results)
    rows = [row for row in block["differences"] if row["arm"] in arms and row["verdict"] == "separated"]
    parts = [
        f"{row['arm']} ({_signed(row['difference'])} nats {_span(row['interval'])})"
        for row in rows
        if number_of(row["difference"]) > 0
    ]
    return [f"Worse than {results['baseline']}: {joined(parts)}."] if parts else []


def _worth_part(row: Mapping[str, Any], what: str) -> str:
    return f"{multiple_text(row['estimate'])} {multiple_interval_text(row)}{what} with {row['arm']}"


def multiple_interval_text(row: Mapping[str, Any]) -> str:
    """ "[1.9x, 2.3x]"; in words where the whole interval lies past the measured curve."""
    low, high = multiple_text(row["lower"]), multiple_text(row["upper"])
    return "(whole interval)" if low == high == multiple_text(row["estimate"]) != "unknown" else f"[{low}, {high}]"


def multiple_text(multiple: Mapping[str, Any] | None) -> str:
    """ "2.1x", "more than 4.0x" or "unknown"."""
    if multiple is None:
        return "unknown"
    value = number_of(multiple["value"])
    if multiple["relation"] != "equal":
        return f"{multiple['relation']} {ratio_text(value)}"
    return ratio_text(value)


def ratio_text(value: Any) -> str:
    """A ratio as every place of the answer and the page writes it: "2.16x", from 10 on "12.3x"."""
    ratio = number_of(value)
    return f"{ratio:.2f}x" if ratio < 9.995 else f"{ratio:.1f}x"


def _against_baseline(results: Mapping[str, Any], block: Mapping[str, Any]) -> list[str]:
    synthetic = [*_synthetic(results), *_synthetic(results, is_control=True)]
    rows = [row for row in block["differences"] if row["arm"] in synthetic and row["verdict"] != "separated"]
    rows = [row for row in rows if is_measured(row)]
    if not rows:
        return []
    verb = "is" if len(rows) == 1 else "are"
    reasons = sorted({row["reason"] for row in rows if row["reason"]})
    because = f" ({'; '.join(reasons)})" if reasons else ""
    return [f"{_names([row['arm'] for row in rows])} {verb} not separated from {results['baseline']}{because}."]


def _not_separated(results: Mapping[str, Any], block: Mapping[str, Any]) -> list[str]:
    """Ties among the synthetic arms, controls left out; among many arms, ties with the best."""
    arms = [arm for arm in _synthetic(results) if any(arm == row["arm"] for row in block["losses"])]
    pairs = [row for row in block["pairs"] if row["arm"] in arms and row["reference"] in arms]
    ties = [row for row in pairs if row["verdict"] != "separated" and is_measured(row)]
    if not ties:
        return []
    if block["pairs_of"] == "best" or len(arms) > _MAX_IN_ALL_PAIRS:
        losses = {row["arm"]: number_of(row["loss"]) for row in block["losses"]}
        best = min((arm for arm in arms if math.isfinite(losses[arm])), key=losses.__getitem__, default=arms[0])
        with_best = [row["arm"] if row["reference"] == best else row["reference"] for row in ties if best in _pair(row)]
        return [f"{best} is not separated from {_names(with_best)}"] if with_best else []
    names = list(dict.fromkeys(name for row in ties for name in _pair(row)))
    if len(ties) == 1:
        return [f"{names[0]} and {names[1]} are not separated"]
    if len(ties) == len(names) * (len(names) - 1) // 2:
        return [f"{_names(names)} are not separated from each other"]
    listed = joined([f"{row['arm']} from {row['reference']}" for row in ties])
    return [f"not separated: {listed}"]


def _equivalent(results: Mapping[str, Any], block: Mapping[str, Any]) -> list[str]:
    """Pairs of arms that were shown to be equal within the margin, which "not separated" does not say."""
    pairs = [f"{row['arm']} and {row['reference']}" for row in block["pairs"] if row["is_equivalent"]]
    if not pairs:
        return []
    shown = pairs[:_MAX_NAMED] + ([f"{len(pairs) - _MAX_NAMED} more pairs"] if len(pairs) > _MAX_NAMED else [])
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
    if best is not None and len(_synthetic(results)) > _MAX_IN_ALL_PAIRS:
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
    row = min(rows, key=_by_worth(block))
    return (
        f" (were those points past the baseline {CURVE_SLACK:g} nats lower, "
        f"{row['arm']} would be {multiple_text(row['if_curve_lower'])})"
    )


def level_text(share: float) -> str:
    """ "95 %", "97.5 %": as many digits as it has."""
    return f"{100 * share:.10g} %"


def _cost(results: Mapping[str, Any]) -> list[str]:
    rows = results["more_tokens"]
    if not rows:
        return []
    arms_of: dict[str, list[str]] = {}
    for row in rows:
        arms_of.setdefault(ratio_text(row["ratio"]), []).append(row["arm"])
    shown = _MAX_WORTHS if len(arms_of) > _MAX_WORTHS + 1 else len(arms_of)
    parts = [f"{_names(arms)} ({ratio})" for ratio, arms in list(arms_of.items())[:shown]]
    left = [row for row in rows if ratio_text(row["ratio"]) in list(arms_of)[shown:]]
    most = max((number_of(row["ratio"]) for row in left), default=0.0)
    parts += [f"{len(left)} more arms (up to {ratio_text(most)})"] if left else []
    return [f"Trained on more tokens than {results['baseline']}, so not matched in compute: {'; '.join(parts)}."]


def _missing(results: Mapping[str, Any]) -> list[str]:
    num = len(results["missing"])
    if not num:
        return []
    return [f"{num} run{'s are' if num > 1 else ' is'} missing; the numbers are from the runs that finished."]


def _by_worth(block: Mapping[str, Any]) -> Callable[[Mapping[str, Any]], tuple[float, float]]:
    """Sorts multipliers, the largest first; equal ones, as past the curve, by their losses."""
    losses = {row["arm"]: number_of(row["loss"]) for row in block["losses"]}
    return lambda row: (-_rank(row["estimate"]), losses[row["arm"]])


def _rank(multiple: Mapping[str, Any]) -> float:
    push = {"more than": 1e9, "less than": -1e9, "equal": 0.0}
    return number_of(multiple["value"]) + push[multiple["relation"]]


def _signed(value: Any) -> str:
    return f"{number_of(value):+.3f}".replace("-", "\N{MINUS SIGN}").replace("+nan", "NaN")


def _span(interval: Sequence[Any]) -> str:
    return f"[{_signed(interval[0])}, {_signed(interval[1])}]"


def _names(arms: Sequence[str]) -> str:
    if len(arms) <= _MAX_NAMED + 1:
        return joined(arms)
    return joined([*arms[:_MAX_NAMED], f"{len(arms) - _MAX_NAMED} more arms"])
