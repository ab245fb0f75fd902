"""The gate's verdict: three answers, each in one sentence."""

from __future__ import annotations

from typing import Any

import pytest

from megadocs.analysis import GateFacts, formation_tokens, gate_row, gate_sentences


def gain(value: float, spread: float = 0.01) -> dict[str, Any]:
    return {"nats_per_token": value, "interval": [value - spread, value + spread], "num_documents": 32}


def row(arm: str, probe: dict[str, Any] | None, seen: dict[str, Any] | None, ordering: str = "stitched"):
    measured: dict[str, Any] = {"copy_gain": gain(0.5), "repeat_score": 0.0, "late_minus_early": -0.1}
    measured |= {"sibling_gain": probe} if probe else {}
    measured |= {"seen_sibling_gain": seen} if seen else {}
    facts = GateFacts(arm, 0, ordering, measured, 512, 4, 832, 1_700_000, 292.0, 300.0, 0.63)
    return gate_row(facts)


@pytest.mark.parametrize(
    ("probe", "seen", "verdict"),
    [
        (gain(0.3), None, "yes"),
        (gain(0.001, 0.005), None, "cannot"),
        (gain(0.02, 0.03), None, "undecided"),
        (gain(-0.2), None, "cannot"),
        (None, gain(0.001, 0.005), "cannot"),  # not even with documents that it knows
        (None, gain(0.5), "undecided"),  # it may remember: probe documents would tell
        (None, None, "undecided"),
    ],
)
def test_verdicts(probe, seen, verdict) -> None:
    assert row("stitched", probe, seen)["verdict"] == verdict


def test_the_arithmetic_beside_them() -> None:
    found = row("stitched", None, gain(0.0, 0.001))
    assert found["rows_per_window"] == pytest.approx(512 / 292)
    assert found["megadocs_per_window"] == pytest.approx(300 / 512)
    assert formation_tokens(64, 4096) == pytest.approx(257e6, rel=0.01)  # the paper's runs (docs/facts.md, section 4)


def test_sentences() -> None:
    cannot = [row("simple", None, gain(0.0, 0.001), "simple"), row("stitched", None, gain(0.001, 0.001))]
    pairs = [{"arm": "stitched", "reference": "simple", "verdict": "not separated"}]
    results = {"sets": [{"pairs": pairs}]}
    (said,) = gate_sentences(cannot, results)
    assert said.startswith(
        "stitched and simple are not separated. Order cannot act here: none of the students measured"
    )
    assert "with stitched, behind its own rephrases a training document loses 0.001 nats per token less" in said
    (said,) = gate_sentences([cannot[0], row("stitched", gain(0.3), None)], results)
    assert "Order can act here: stitched uses its context" in said
    assert "simple does not" in said
    (said,) = gate_sentences([row("stitched", None, gain(0.5))])
    assert "is not decided" in said
    assert "corpus.split.probe" in said
    assert gate_sentences([]) == []
