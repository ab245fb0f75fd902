"""What the n-gram floor says of the baseline: a multiplier over one that has learnt less than counting is none.

A baseline that is not better than a trigram model of the same text takes the headline from the multiplier: the first
sentence says so, and the multiplier follows as a description of the baseline (`headline_floor`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from megadocs.analysis.results_json import number_of


def headline_floor(results: Mapping[str, Any]) -> list[str]:
    """The first sentence where the baseline is not better than the floor; none where it is, or nothing is known.

    Args:
        results: of the analysis, with `floor` (docs/report.md).
    """
    floor = _floor(results)
    if floor is None or floor.own < floor.low:
        return []
    return [
        f"{results['baseline']} is no better than {floor.name} ({floor.own:.3f} nats against {floor.low:.3f}), so a "
        f"multiplier below describes the baseline and not the synthetic text: {_remedy(results)}."
    ]


def _remedy(results: Mapping[str, Any]) -> str:
    found = [search for search in results.get("searches", []) if search["arm"] == results["baseline"]]
    if not found:
        return "tune it first (`tune: auto`, or megadocs search)"
    certificates = [search["certificate"] for search in found if search["certificate"] is not None]
    if any(certificate["kind"] != "incomplete" for certificate in certificates):
        return "tuning it on validation did not change that"
    return "its tuning ended without a certificate, so give it more trials (`tune`, or megadocs search)"


def floor_sentences(results: Mapping[str, Any]) -> list[str]:
    """More sentences of the answer about the floor; empty where there is none or the baseline has no loss.

    Args:
        results: of the analysis, with `floor` (docs/report.md).
    """
    floor = _floor(results)
    if floor is None:
        return []
    sentences = []
    if floor.own < floor.low:
        sentences.append(
            f"{results['baseline']} ({floor.own:.3f} nats) is {floor.low - floor.own:.3f} nats better than the floor, "
            f"{floor.name} ({floor.low:.3f})."
        )
    if others := results["floor"]["models"][1:]:
        parts = [f"{number_of(row['loss']):.3f} with {row['text'].replace('_', ' ')} rows" for row in others]
        sentences.append(f"The trigram model with synthetic text added comes to {', '.join(parts)}.")
    return sentences


@dataclass(frozen=True, slots=True)
class _Floor:
    """Loss of the baseline, of the trigram model of its text, and what that model is called."""

    own: float
    low: float
    name: str


def _floor(results: Mapping[str, Any]) -> _Floor | None:
    losses = {row["arm"]: number_of(row["loss"]) for row in results["sets"][0]["losses"]}
    own = losses.get(results["baseline"], math.nan)
    if not results.get("floor") or not math.isfinite(own):
        return None
    real = results["floor"]["models"][0]
    cut = "" if real["num_tokens"] == real["num_all_tokens"] else f" (of {real['num_tokens']:,} tokens of it)"
    return _Floor(own, number_of(real["loss"]), f"a trigram model of the same text{cut}")
