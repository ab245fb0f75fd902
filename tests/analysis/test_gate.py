"""The gate's verdict: three answers, each in one sentence."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from megadocs.analysis import GateFacts, gain_row, gate_row, gate_sentences, json_form


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
    assert found["windows_per_megadoc"] == pytest.approx(300 / 512)


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


@pytest.mark.parametrize(
    ("arm", "reference", "difference", "interval"),
    [("stitched", "simple", 0.0876, [0.077, 0.098]), ("simple", "stitched", -0.0876, [-0.098, -0.077])],
)
def test_orders_that_are_separated_are_said_before_those_that_are_not(arm, reference, difference, interval) -> None:
    orders = ("simple", "stitched", "mis_stitched", "shuffled_words")
    rows = [row(name, gain(0.3), None, name) for name in orders]
    pair = {"arm": arm, "reference": reference, "verdict": "separated", "difference": difference, "interval": interval}
    other = {"arm": "simple", "reference": "mis_stitched", "verdict": "not separated"}
    words = {"arm": "simple", "reference": "shuffled_words", "verdict": "not separated"}
    (said,) = gate_sentences(rows, {"sets": [{"pairs": [words, other, pair]}]})
    worse = "stitched loses 0.088 nats more than simple [0.077, 0.098]"
    assert said.startswith(f"{worse}; simple and mis_stitched are not separated. Order can act here")
    (said,) = gate_sentences(rows, {"sets": [{"pairs": [words]}]})
    assert said.startswith("Order can act here")  # other words are not another order
    better = {**pair, "difference": -difference, "interval": [-end for end in reversed(interval)]}
    (said,) = gate_sentences(rows, {"sets": [{"pairs": [better]}]})
    assert said.startswith("stitched loses 0.088 nats less than simple [0.077, 0.098]. Order")


def test_a_run_says_why_it_has_no_sibling_gain() -> None:
    measured = {"no_sibling_gain": "the shortest rephrase has 90 tokens, the student sees 64", "repeat_score": 0.0}
    found = gate_row(GateFacts("simple", 0, "simple", measured, 64, 4, 832, 1_700_000, 292.0, 300.0, None))
    assert (found["verdict"], found["copy_gain"]) == ("undecided", None)
    (said,) = gate_sentences([found])
    assert "is not decided (simple: the shortest rephrase has 90 tokens, the student sees 64)" in said


def gains_of(
    num_sources: int, pieces: int = 3, *, by_source: float = 0.05
) -> tuple[list[str], dict[str, str], np.ndarray]:
    """Ids, sources and gains (nats over 100 targets) of pieces that share their source's gain."""
    rng = np.random.default_rng(num_sources)
    ids = [f"s{source:02d}#{piece}" for source in range(num_sources) for piece in range(pieces)]
    gains = 0.1 + np.repeat(rng.normal(0, by_source, num_sources), pieces) + rng.normal(0, 0.001, len(ids))
    return ids, {name: name.partition("#")[0] for name in ids}, 100.0 * gains


def test_the_interval_of_a_gain_leaves_out_whole_sources() -> None:
    ids, groups, gains = gains_of(8)
    tokens = np.full(len(ids), 100)
    by_source, by_piece = gain_row(ids, tokens, gains, groups), gain_row(ids, tokens, gains, None)
    assert by_source["nats_per_token"] == by_piece["nats_per_token"] == pytest.approx(gains.sum() / tokens.sum())
    assert (by_source["resampled"], by_source["num_resampled"]) == ("sources", 8)
    width = [row["interval"][1] - row["interval"][0] for row in (by_source, by_piece)]
    assert width[0] > 1.5 * width[1]  # three pieces of a source are not three documents
    means = gains.reshape(8, 3).mean(axis=1) / 100
    assert width[0] == pytest.approx(2 * 2.3646 * means.std(ddof=1) / np.sqrt(8), rel=1e-3)  # equal sources: plain t


def test_one_document_has_a_gain_and_no_interval() -> None:
    found = json_form(gain_row(["a"], np.array([10]), np.array([5.0]), None))
    assert found["interval"] == ["NaN", "NaN"]
    row_of_one = row("stitched", found, None)
    assert (row_of_one["verdict"], row_of_one["why"]) == ("undecided", "it was measured on 1 document: no interval")


def test_a_gain_that_is_not_a_number_decides_nothing() -> None:
    lost = json_form(gain_row(["a", "b", "c"], np.full(3, 10), np.array([1.0, np.nan, 2.0]), None))
    assert row("stitched", lost, None)["why"] == "the loss of a document is not a number"
