"""Findings about methods, in words: which orders of the same text, and which controls, are separated.

    method_sentences(results, block)     # stitched against simple at equal generations ...
    control_sentences(results, block)    # ... and what bundles of unrelated rows did

Arms are matched by their settings (ordering and number of generations), never by their names, and only where a method
has one arm at that number; verdicts are those of the table of pairs. What is not separated is said to be so: that two
arms are equal is never claimed.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from megadocs.analysis.results_json import number_of
from megadocs.analysis.sentences import joined
from megadocs.kinds import orderings_of_role


def method_sentences(results: Mapping[str, Any], block: Mapping[str, Any]) -> list[str]:
    """One sentence on methods at equal numbers of generations; none where no two of them can be compared."""
    arms = _arms_by_key(results, block)
    methods = [spec.name for spec in orderings_of_role("method")]  # from the plainest: later ones against earlier ones
    parts = []
    for index, method in enumerate(methods):
        for other in methods[:index]:
            verdicts: dict[str, list[int]] = {}
            for name, generations in sorted(arms, key=lambda key: (key[0], key[1])):
                if name == method and (other, generations) in arms:
                    verdict = _verdict(block, arms[method, generations], arms[other, generations])
                    verdicts.setdefault(verdict, []).append(generations)
            parts += [
                f"{method} is {verdict} {other} at G = {joined(list(map(str, found)))}"
                for verdict, found in verdicts.items()
                if verdict
            ]
    return [f"At equal generations {'; '.join(parts)}."] if parts else []


def control_sentences(results: Mapping[str, Any], block: Mapping[str, Any]) -> list[str]:
    """What each control says of the method that it stands beside."""
    arms = _arms_by_key(results, block)
    sentences = []
    for spec in orderings_of_role("control"):
        if spec.contrast is None:
            continue
        control, (method, what, question) = spec.name, spec.contrast
        for name, generations in sorted(arms, key=lambda key: (key[0], key[1])):
            if name != control or (method, generations) not in arms:
                continue
            own, beside = arms[control, generations], arms[method, generations]
            verdict = _verdict(block, own, beside)
            if verdict == "not separated from":
                sentences.append(
                    f"{own} ({what}) is not separated from {beside}: {question} has not been shown to matter."
                )
            elif verdict:
                sentences.append(f"{own} ({what}) is {verdict} {beside}: {question} matters here.")
    return sentences


def _arms_by_key(results: Mapping[str, Any], block: Mapping[str, Any]) -> dict[tuple[str, int], str]:
    """(method, generations) -> its arm, where it has exactly one with a loss."""
    scored = {row["arm"] for row in block["losses"]}
    found: dict[tuple[str, int], list[str]] = {}
    for row in results["arms"]:
        settings = row.get("settings", {})
        if row["arm"] in results["other_students"]:
            continue
        if row["arm"] in scored and settings.get("num_generations") is not None:
            found.setdefault((str(settings.get("ordering")), int(settings["num_generations"])), []).append(row["arm"])
    return {key: arms[0] for key, arms in found.items() if len(arms) == 1}


def _verdict(block: Mapping[str, Any], arm: str, other: str) -> str:
    """ "better than", "worse than", "not separated from"; empty where the two could not be compared."""
    for row in block["pairs"]:
        if {row["arm"], row["reference"]} != {arm, other}:
            continue
        if not math.isfinite(number_of(row["difference"])):
            return ""
        if row["verdict"] != "separated":
            return "not separated from"
        is_lower = (number_of(row["difference"]) < 0) == (row["arm"] == arm)
        return "better than" if is_lower else "worse than"
    return ""
