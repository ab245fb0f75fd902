"""Can order act here? The verdict on a student's use of its context, from measurements on held-out documents.

    rows = [gate_row(GateFacts(...)), ...]
    results["gate"] = rows; results["answer"][1:1] = gate_sentences(rows)

Stitched and simple streams hold the same rows in another order, so they can differ only in a student that reads what
stands before a row. Three verdicts, each complete: `yes` (its own rephrases in the context help with a held-out
document), `cannot` (they help by less than `SMALLEST_GAIN`), `undecided`. Without probe documents the rephrases of
training documents are tried: no help there is `cannot`, help is no `yes`, because the student knows those documents. A
copy of the document decides nothing: a student of stitched rows learned that a document ends its megadoc, and copies
from rephrases alone (copy gain .02 where the sibling gain is .22; docs/order.md).
The arithmetic beside them (rows in a window, tokens against the formation estimate) explains and never decides.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from megadocs.analysis.document_noise import document_noise
from megadocs.analysis.paired import spread_of
from megadocs.analysis.results_json import number_of
from megadocs.analysis.tables import FloatArray, IntArray, ScoreBlock
from megadocs.kinds import orderings_of_role
from megadocs.streams.room import formation_tokens, room_for_order

#: Nats per token below which a context is called unused. An order's effect in training is smaller than what the
#: context is worth at test, and effects of .01 are the smallest that anybody resolves here.
SMALLEST_GAIN = 0.02

_MEASURED = ("sibling_gain", "seen_sibling_gain", "copy_gain", "repeat_score", "late_minus_early")


def gain_row(
    document_ids: Sequence[str], num_tokens: IntArray, gains: FloatArray, groups: Mapping[str, str] | None
) -> dict[str, Any]:
    """A gain over D documents with its 95 % interval over sources, left out one at a time as for every loss.

    Args:
        document_ids: D.
        num_tokens: int64 (D,), targets of each.
        gains: float64 (D,), summed nats of each.
        groups: document id -> source; None: every document is one.

    Returns:
        `nats_per_token`, `interval` (NaN where nothing is known of other documents), `num_documents`, `num_tokens`,
        `resampled` (what was left out) and `num_resampled`.
    """
    block = ScoreBlock("", "", tuple(document_ids), num_tokens, num_tokens, (("", 0),), gains[None, :], ())
    noise = document_noise(block, groups)
    mean = float(block.losses()[0])
    spread = spread_of((noise.variance(np.ones(1)), noise.degrees))
    return {
        "nats_per_token": mean,
        "interval": list(spread.interval(mean, 0.95)),
        "num_documents": len(document_ids),
        "num_tokens": int(num_tokens.sum()),
        "resampled": noise.kind,
        "num_resampled": noise.num_units,
    }


@dataclass(frozen=True, slots=True)
class GateFacts:
    """What the gate knows of one run."""

    arm: str
    seed: int
    ordering: str
    #: summary of the gate step: copy_gain, repeat_score, late_minus_early, and sibling_gain over probe documents, or
    #: seen_sibling_gain over training documents, or why there is none (no_sibling_gain).
    measured: Mapping[str, Any]
    context_length: int
    batch_size: int
    num_steps: int
    train_tokens: int
    row_tokens: float  # mean tokens of a row of the synthetic stream
    megadoc_tokens: float  # tokens of that stream per document
    truncated_share: float | None  # share of the rephrases that the length limit cut; None where it is not known
    record: str | None = None


def gate_row(facts: GateFacts) -> dict[str, Any]:
    """The run's entry in the results: verdict, why, measurements, arithmetic."""
    verdict, why = _verdict(facts.measured)
    return {
        "arm": facts.arm,
        "seed": facts.seed,
        "ordering": facts.ordering,
        "verdict": verdict,
        "why": why,
        **{name: facts.measured.get(name) for name in _MEASURED},
        **room_for_order(facts.context_length, facts.row_tokens, facts.megadoc_tokens),
        "truncated_share": facts.truncated_share,
        "num_steps": facts.num_steps,
        "train_tokens": facts.train_tokens,
        "formation_tokens": formation_tokens(facts.batch_size, facts.context_length),
        "record": facts.record,
    }


def _verdict(measured: Mapping[str, Any]) -> tuple[str, str]:
    probe, seen = measured.get("sibling_gain"), measured.get("seen_sibling_gain")
    gain = probe or seen
    if gain is None:
        reason = measured.get("no_sibling_gain")
        return "undecided", reason or "no documents with rephrases to measure on: set corpus.split.probe"
    low, high = (number_of(end) for end in gain["interval"])
    if not math.isfinite(low):
        num = gain["num_documents"]
        if not math.isfinite(_nats(gain)):
            return "undecided", "the loss of a document is not a number"
        return "undecided", f"it was measured on {num} document{'' if num == 1 else 's'}: no interval"
    which = "held-out" if probe else "training"
    told = f"behind its own rephrases a {which} document loses {_gain(gain)} than behind foreign ones"
    if high < SMALLEST_GAIN:
        return "cannot", told
    if low > 0 and _nats(gain) >= SMALLEST_GAIN:
        return ("yes", told) if probe else ("undecided", f"{told}; new documents need corpus.split.probe")
    return "undecided", told


def _gain(measured: Mapping[str, Any]) -> str:
    gain, (low, high) = _nats(measured), map(number_of, measured["interval"])
    return f"{abs(gain):.3f} nats per token {'less' if gain >= 0 else 'more'} [{low:+.3f}, {high:+.3f}]"


def _nats(measured: Mapping[str, Any]) -> float:
    return number_of(measured["nats_per_token"])


def gate_sentences(rows: Sequence[Mapping[str, Any]], results: Mapping[str, Any] | None = None) -> list[str]:
    """The verdict in one sentence; none without measured runs, or where no arms differ in order alone.

    Args:
        rows: of `gate_row`.
        results: where they separate simple and another order of its rows, or do not, the sentence says so too.
    """
    if not rows:
        return []
    verdicts = {row["verdict"] for row in rows}
    names = ", ".join(row["arm"] for row in rows)
    apart = _order_apart(rows, results) if results else ""
    first = rows[0]
    if verdicts == {"cannot"}:
        return [
            f"{apart}Order cannot act here: none of the students measured ({names}) uses its context; {_worst(rows)}."
        ]
    if "yes" in verdicts:
        using = [row for row in rows if row["verdict"] == "yes"]
        rest = [row["arm"] for row in rows if row["verdict"] != "yes"]
        others = f", {', '.join(rest)} {'does' if len(rest) == 1 else 'do'} not, or not measurably" if rest else ""
        names = ", ".join(row["arm"] for row in using)
        uses = "uses its" if len(using) == 1 else "use their"
        return [f"{apart}Order can act here: {names} {uses} context ({using[0]['arm']}: {using[0]['why']}){others}."]
    return [f"{apart}Whether order can act here is not decided ({first['arm']}: {first['why']})."]


def _worst(rows: Sequence[Mapping[str, Any]]) -> str:
    """The reason of the row that comes nearest to using its context."""
    row = max(rows, key=lambda row: _nats(row["sibling_gain"] or row["seen_sibling_gain"]))
    return f"at most, with {row['arm']}, {row['why']}"


#: Verdicts on a pair of arms, in the order in which they are said; a pair may have none.
_FINDINGS = ("separated", "not separated")


def _order_apart(rows: Sequence[Mapping[str, Any]], results: Mapping[str, Any]) -> str:
    """What the losses say of order, before the verdict: the first pair with each finding, of simple and another order.

    "stitched loses 0.088 nats more than simple [0.077, 0.098]; simple and mis_stitched are not separated. "
    """
    orderings = {row["arm"]: row["ordering"] for row in rows if _holds_the_rows_of_simple(row["ordering"])}
    found: dict[str, str] = {}
    for pair in results["sets"][0]["pairs"]:
        arms = (pair["arm"], pair["reference"])
        known = [orderings[arm] for arm in arms if arm in orderings]
        if len(set(known)) == 2 and "simple" in known and pair["verdict"] in _FINDINGS:
            found.setdefault(pair["verdict"], _pair_text(pair, orderings[arms[0]] == "simple"))
    told = [found[verdict] for verdict in _FINDINGS if verdict in found]
    return f"{'; '.join(told)}. " if told else ""


def _holds_the_rows_of_simple(ordering: str) -> bool:
    """Whether it is an order of simple's rows. Shuffled words and thoughts are other text; own code counts as one."""
    specs = {spec.name: spec for role in ("method", "control") for spec in orderings_of_role(role)}
    return ordering not in specs or specs[ordering].kinds == specs["simple"].kinds


def _pair_text(pair: Mapping[str, Any], simple_first: bool) -> str:
    arm, reference = pair["arm"], pair["reference"]
    if pair["verdict"] == "not separated":
        return f"{arm} and {reference} are not separated"
    sign = -1 if simple_first else 1
    other, simple = (reference, arm) if simple_first else (arm, reference)
    difference = sign * number_of(pair["difference"])
    low, high = sorted(math.copysign(1, difference) * sign * number_of(end) for end in pair["interval"])
    more = "more" if difference > 0 else "less"
    return f"{other} loses {abs(difference):.3f} nats {more} than {simple} [{low:.3f}, {high:.3f}]"
