"""Findings about methods: matched by settings, worded by the verdicts of the pairs, silent where none was made."""

from __future__ import annotations

from typing import Any

import pytest

from megadocs.analysis.method_findings import control_sentences, method_sentences


def arm(name: str, ordering: str, generations: int | None) -> dict[str, Any]:
    return {"arm": name, "kind": "synthetic", "settings": {"ordering": ordering, "num_generations": generations}}


def pair(first: str, second: str, difference: float, verdict: str = "separated") -> dict[str, Any]:
    return {"arm": first, "reference": second, "difference": difference, "verdict": verdict}


ARMS = [
    arm("a2", "simple", 2),
    arm("a4", "simple", 4),
    arm("b2", "stitched", 2),
    arm("b4", "stitched", 4),
    arm("c4", "latent_thoughts", 4),
    arm("m4", "mis_stitched", 4),
]


def say(pairs: list[dict[str, Any]], arms: list[dict[str, Any]] = ARMS) -> tuple[list[str], list[str]]:
    results, block = (
        {"arms": arms, "other_students": {}},
        {"losses": [{"arm": row["arm"]} for row in arms], "pairs": pairs},
    )
    return method_sentences(results, block), control_sentences(results, block)


def test_verdicts_either_way_round_by_generations() -> None:
    pairs = [
        pair("a2", "b2", 0.001, "not separated"),
        pair("a4", "b4", 0.05),  # simple is higher: stitched is better
        pair("c4", "a4", 0.10),
        pair("b4", "c4", -0.15),
    ]
    methods, controls = say(pairs)
    assert methods == [
        "At equal generations stitched is not separated from simple at G = 2; stitched is better than simple at G = 4; "
        "latent_thoughts is worse than simple at G = 4; latent_thoughts is worse than stitched at G = 4."
    ]
    assert controls == []


@pytest.mark.parametrize(
    ("difference", "verdict", "words"),
    [
        (0.0, "not separated", "m4 (bundles of unrelated rows) is not separated from b4: that a bundle holds one "),
        (0.1, "separated", "m4 (bundles of unrelated rows) is worse than b4: that a bundle holds one "),
        (-0.1, "separated", "m4 (bundles of unrelated rows) is better than b4: that a bundle holds one "),
    ],
)
def test_a_control_beside_its_method(difference: float, verdict: str, words: str) -> None:
    methods, (sentence,) = say([pair("m4", "b4", difference, verdict)])
    assert methods == []
    assert sentence.startswith(words)


def test_several_arms_of_one_method_and_size_are_not_compared() -> None:
    assert say([pair("a2", "b2", 0.1)], [*ARMS, arm("a2_other_rate", "simple", 2)]) == ([], [])


def test_of_what_is_not_a_number_nothing_is_said() -> None:
    assert say([pair("a2", "b2", float("nan"), "not separated")]) == ([], [])
