"""Words that several findings share: lists, multipliers, differences in nats."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from megadocs.analysis.results_json import number_of

#: Arms named in one sentence; the tables have all.
MAX_NAMED = 6


def joined(parts: Sequence[str]) -> str:
    """ "a", "a and b", "a, b and c"; empty for none."""
    if len(parts) < 2:
        return "".join(parts)
    return f"{', '.join(parts[:-1])} and {parts[-1]}"


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


def level_text(share: float) -> str:
    """ "95 %", "97.5 %": as many digits as it has."""
    return f"{100 * share:.10g} %"


def signed(value: Any) -> str:
    """Nats with their sign and three digits; "NaN" where there is no number."""
    return f"{number_of(value):+.3f}".replace("-", "\N{MINUS SIGN}").replace("+nan", "NaN")


def span(interval: Sequence[Any]) -> str:
    """An interval in nats, in brackets."""
    return f"[{signed(interval[0])}, {signed(interval[1])}]"


def arm_names(arms: Sequence[str]) -> str:
    """Arms of one sentence, the rest of very many as a number."""
    if len(arms) <= MAX_NAMED + 1:
        return joined(arms)
    return joined([*arms[:MAX_NAMED], f"{len(arms) - MAX_NAMED} more arms"])


def worth_text(row: Mapping[str, Any]) -> str:
    """ "2.07x [1.98x, 2.18x]" of a row of `data_efficiency`."""
    return f"{multiple_text(row['estimate'])} {multiple_interval_text(row)}"


def drop_text(row: Mapping[str, Any]) -> str:
    """ "-0.592 nats [-0.611, -0.573]" of a row of `differences`."""
    return f"{signed(row['difference'])} nats {span(row['interval'])}"
