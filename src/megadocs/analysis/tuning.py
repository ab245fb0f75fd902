"""What the answer says of tuning: arms tuned here, certificates missing or on an edge, and what was not tuned.

    results["answer"] += tuning_sentences(results)

Certificates are those of the workspace's searches, `megadocs search` or a recipe's `tune`, by the names of arms.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from megadocs.analysis.results_json import number_of
from megadocs.analysis.sentences import joined

#: Below this, the choice between settings rests on so little text that it is said.
MIN_VALIDATION_DOCUMENTS = 16
MIN_VALIDATION_TOKENS = 4_000


def tuning_sentences(results: Mapping[str, Any]) -> list[str]:
    """Sentences about tuning, for the answer.

    Args:
        results: of the analysis, with `searches`.
    """
    arms = {row["arm"]: row for row in results["arms"] if row["kind"] != "missing"}
    found = {row["arm"]: row["certificate"] for row in results.get("searches", ()) if row["arm"] in arms}
    if not found:
        return ["No arm was tuned in this workspace: every arm has the settings that the recipe gives it."]
    curve = {point["arm"] for point in results["sets"][0]["curve"]}
    claims = [f"{arm} ({_claim(certificate)})" for arm, certificate in found.items()]
    sentences = [f"Tuned here on validation: {joined(claims)}."]
    edges = [f"{arm} ({'; '.join(found[arm]['edges'])})" for arm in found if arm in curve and found[arm]["edges"]]
    if edges:
        sentences.append(
            f"On the edge of the grid: {joined(edges)}; a better setting may lie beyond it, and every multiplier "
            "leans on these arms."
        )
    alike: dict[str, list[str]] = {}
    untuned = []
    for arm, facts in arms.items():
        models = [name for name in found if arms[name]["kind"] == facts["kind"] and _alike(facts, found[name])]
        model = models[0] if models and arm not in found else None
        if model is not None:
            alike.setdefault(model, []).append(arm)
        elif arm not in found:
            untuned.append(arm)
    sentences += [f"Not tuned, with the setting of {model}: {joined(names)}." for model, names in alike.items()]
    sentences += [f"Not tuned: {joined(untuned)}."] if untuned else []
    return sentences + _small_validation(results)


def _claim(certificate: Mapping[str, Any]) -> str:
    count = certificate["num_trials"]
    trials = f"{count} trial{'' if count == 1 else 's'}"
    words = {
        "interior": "best of its neighbours",
        "edge": "best of its neighbours, on an edge",
        "incomplete": "no certificate: the budget ended, or a neighbour failed",
    }
    return f"{trials}, {words[certificate['kind']]}"


def _alike(facts: Mapping[str, Any], certificate: Mapping[str, Any]) -> bool:
    """Whether an arm was trained with the setting that a search found for another."""
    known = {**facts.get("settings", {}), "real_epochs": facts.get("planned_real_epochs")}
    values = [(known.get(key.rpartition(".")[2]), wanted) for key, wanted in certificate["setting"].items()]
    return bool(values) and all(
        own is not None and math.isclose(number_of(own), number_of(wanted)) for own, wanted in values
    )


def _small_validation(results: Mapping[str, Any]) -> list[str]:
    blocks = [block for block in results["sets"] if block["set"] == "validation"]
    if not blocks:
        return []
    documents, tokens = blocks[0]["num_documents"], blocks[0]["num_tokens"]
    if documents >= MIN_VALIDATION_DOCUMENTS and tokens >= MIN_VALIDATION_TOKENS:
        return []
    return [
        f"The validation set is small for tuning ({documents} documents, {tokens:,} tokens): settings that differ by a "
        "few hundredths of a nat cannot be distinguished on it."
    ]
