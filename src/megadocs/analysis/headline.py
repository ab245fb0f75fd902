"""The answer's first sentence: what the synthetic text was worth, and how much of that comes without meaning.

    sentences = first_sentences(results, block, arms=["simple", "stitched"], ties=["simple and stitched are ..."])

An arm can beat its control and still owe most of its gain to it: of one demo's 2.07x, words in random order came to
1.78x, 79 % of the gain in nats. Who reads one sentence must not miss that. So the sentence names the strongest null
control, with its multiplier and its share, where that share is at least half of the gain of an arm that it names
(`takes_most`), and where no arm was shown to beat the controls (`failed_gate`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from megadocs.analysis.control_gate import failed_gate, null_texts, takes_most
from megadocs.analysis.results_json import number_of
from megadocs.analysis.sentences import MAX_NAMED, arm_names, drop_text, joined, worth_text

#: Up to this many arms, the first sentence names all that it is about; of more, the best.
MAX_IN_FIRST = 4
_SETS = {"test": "held-out test", "validation": "validation"}


@dataclass(frozen=True, slots=True)
class _Claim:
    """What the arms were worth."""

    text: str
    arms: tuple[str, ...]  # the arms that it names
    reason: str = ""  # why it is in nats


def first_sentences(
    results: Mapping[str, Any], block: Mapping[str, Any], arms: Sequence[str], ties: Sequence[str]
) -> list[str]:
    """The first sentence; a second one where the first has no room for the ties.

    Args:
        block: the headline's set.
        arms: those that it is about: the arms that beat the controls, or all where none does.
        ties: what is not separated, as clauses.
    """
    failed = failed_gate(block, [arm for arm in arms if arm in _scored(block)])
    claim = _claim(results, block, arms)
    if claim is None:
        nothing = f"{'; '.join([_no_worth(results, block, arms), *ties])}."
        return [nothing] if failed is None else [f"{failed.start}{failed.end}.", nothing]
    reason = [claim.reason] if claim.reason else []
    if failed is None:
        return [f"{'; '.join([claim.text + _but_control(results, block, claim.arms), *reason, *ties])}."]
    what = claim.text[0].lower() + claim.text[1:] + _control(results, block, claim.arms, ", and")
    second = "; ".join([*(text[0].upper() + text[1:] for text in reason), *ties])
    return [f"{failed.start}: {what}{failed.end}.", *([f"{second}."] if second else [])]


def named_first(results: Mapping[str, Any], block: Mapping[str, Any], arms: Sequence[str]) -> set[str]:
    """The arms and the control whose worth the first sentence gives; they need not be given again."""
    claim = _claim(results, block, arms)
    if claim is None:
        return set()
    failed = failed_gate(block, [arm for arm in arms if arm in _scored(block)])
    said = _control(results, block, claim.arms, ",") if failed else _but_control(results, block, claim.arms)
    return {*claim.arms, *([str(block["strongest_control"])] if said else [])}


def mostly_without_meaning(results: Mapping[str, Any], block: Mapping[str, Any], arms: Sequence[str]) -> list[str]:
    """Of many arms, those behind the best whose gain the control takes, too; the first sentence says it of the best."""
    named = named_first(results, block, arms)
    known = [row for row in block["controls"] if row["arm"] in arms and _share_text(row)]
    found = [row["arm"] for row in known if takes_most(row)]
    if not (others := [arm for arm in found if arm not in named]):
        return []
    what = _null_text(results, block)
    return [f"At least half of the gain in nats of {arm_names(others)} comes with {what}, too."]


def is_measured(row: Mapping[str, Any]) -> bool:
    """Whether a comparison has a number: it has none where a run's loss is NaN or infinite."""
    return math.isfinite(number_of(row["difference"]))


def by_worth(block: Mapping[str, Any]) -> Callable[[Mapping[str, Any]], tuple[float, float]]:
    """Sorts multipliers, the largest first; equal ones, as past the curve, by their losses."""
    losses = {row["arm"]: number_of(row["loss"]) for row in block["losses"]}
    return lambda row: (-_rank(row["estimate"]), losses[row["arm"]])


def _rank(multiple: Mapping[str, Any]) -> float:
    push = {"more than": 1e9, "less than": -1e9, "equal": 0.0}
    return number_of(multiple["value"]) + push[multiple["relation"]]


def _scored(block: Mapping[str, Any]) -> set[str]:
    return {row["arm"] for row in block["losses"]}


def _claim(results: Mapping[str, Any], block: Mapping[str, Any], arms: Sequence[str]) -> _Claim | None:
    """Multipliers where there are any, else differences in nats; None where nothing is measured."""
    rows = [row for row in block["data_efficiency"] if row["arm"] in arms and row["estimate"] is not None]
    if rows:
        rows.sort(key=by_worth(block))
        shown = rows if len(rows) <= MAX_IN_FIRST else rows[:1]
        parts = [
            f"{worth_text(row)}{'' if index else ' the real data'} with {row['arm']}" for index, row in enumerate(shown)
        ]
        best = "" if len(shown) == len(rows) else f", the best of {len(rows)} arms"
        return _Claim(f"Synthetic text was worth {joined(parts)}{best}", tuple(row["arm"] for row in shown))
    drops = [row for row in block["differences"] if row["arm"] in arms and is_measured(row)]
    if not drops:
        return None
    shown = sorted(drops, key=lambda row: number_of(row["difference"]))[:MAX_NAMED]
    parts = [f"{drop_text(row)} with {row['arm']}" for row in shown]
    reason = block["no_data_efficiency"] or "no multiplier can be read off the real-only curve"
    where = _SETS.get(block["set"], block["set"])
    return _Claim(
        f"Synthetic text changed the {where} loss per token against {results['baseline']} by {joined(parts)}",
        tuple(row["arm"] for row in shown),
        f"what that is worth in real data is not known ({reason})",
    )


def _but_control(results: Mapping[str, Any], block: Mapping[str, Any], arms: Sequence[str]) -> str:
    """The control, where it takes most of the gain of an arm that the sentence names; empty otherwise."""
    is_most = any(takes_most(row) for row in block["controls"] if row["arm"] in arms)
    return _control(results, block, arms, ", but") if is_most else ""


def _control(results: Mapping[str, Any], block: Mapping[str, Any], arms: Sequence[str], conjunction: str) -> str:
    """What the strongest control came to, and its share of the arms' gain; empty where it has no number."""
    control = block["strongest_control"]
    worth = [worth_text(row) for row in block["data_efficiency"] if row["arm"] == control and row["estimate"]]
    drops = [drop_text(row) for row in block["differences"] if row["arm"] == control and is_measured(row)]
    if not (worth or drops):
        return ""
    what = _null_text(results, block)
    came = f"{conjunction} the control {control}"
    number = (worth or drops)[0]
    shares = {row["arm"]: _share_text(row) for row in block["controls"] if row["arm"] in arms}
    arms_of: dict[str, list[str]] = {}
    for arm, share in shares.items():
        if share:
            arms_of.setdefault(share, []).append(arm)
    unknown = [row["arm"] for row in block["controls"] if row["arm"] in arms and _is_without_ends(row)]
    if unknown and not arms_of:
        return f"{came} came to {number}, and how much of the gain comes with {what} is not known"
    if not arms_of:
        return f"{came} ({what}) came to {number}"
    is_one = len(arms_of) == 1 and not unknown
    told = next(iter(arms_of)) if is_one else joined([f"{share} ({joined(of)})" for share, of in arms_of.items()])
    rest = f" (of {joined(unknown)}: not known)" if unknown else ""
    return f"{came} came to {number}, so {told} of the gain in nats over {results['baseline']} comes with {what}{rest}"


def _share_text(row: Mapping[str, Any]) -> str | None:
    """ "79 % [71 %, 88 %]"; None where there is no share or it is not known.

    Without an interval "all" and "none" past the ends, where noise or a better control leads.
    """
    if row["gain_share"] is None or _is_without_ends(row):
        return None
    percent = round(100 * number_of(row["gain_share"]))
    interval = row.get("gain_share_interval")  # results written before there was one have no such key
    if interval is None:
        return "all" if percent >= 100 else "none" if percent <= 0 else f"{percent} %"
    low, high = (round(100 * number_of(end)) for end in interval)
    return f"{percent} % [{low} %, {high} %]"


def _is_without_ends(row: Mapping[str, Any]) -> bool:
    """Whether the arm's gain is not told from 0, so that the control's share of it could be any."""
    interval = row.get("gain_share_interval")
    return interval is not None and math.isinf(number_of(interval[0]))


def _null_text(results: Mapping[str, Any], block: Mapping[str, Any]) -> str:
    """What the strongest control's text is, in words."""
    orderings = {row["arm"]: row["settings"].get("ordering") for row in results["arms"]}
    return null_texts()[orderings[block["strongest_control"]]]


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
