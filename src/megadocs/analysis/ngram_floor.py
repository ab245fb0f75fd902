"""What the n-gram floor says of the baseline: a multiplier over one that has learnt less than counting is none."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from megadocs.analysis.results_json import number_of


def floor_sentences(results: Mapping[str, Any]) -> list[str]:
    """Sentences of the answer about the floor; empty where there is none or the baseline has no loss.

    Args:
        results: of the analysis, with `floor` (docs/report.md).
    """
    floor = results.get("floor")
    losses = {row["arm"]: number_of(row["loss"]) for row in results["sets"][0]["losses"]}
    baseline = results["baseline"]
    if not floor or baseline not in losses:
        return []
    real, *others = floor["models"]
    own, low = losses[baseline], number_of(real["loss"])
    cut = "" if real["num_tokens"] == real["num_all_tokens"] else f" (of {real['num_tokens']:,} tokens of it)"
    name = f"a trigram model of the same text{cut}"
    if own < low:
        sentences = [f"{baseline} ({own:.3f} nats) is {low - own:.3f} nats better than the floor, {name} ({low:.3f})."]
    else:  # also where the loss is not a number
        sentences = [
            f"{baseline} is worse than {name} ({own:.3f} nats against {low:.3f}): the multiplier describes the "
            "baseline."
        ]
    if others:
        parts = [f"{number_of(row['loss']):.3f} with {row['text'].replace('_', ' ')} rows" for row in others]
        sentences.append(f"The trigram model with synthetic text added comes to {', '.join(parts)}.")
    return sentences
