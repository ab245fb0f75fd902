"""The gate against text without meaning: which arms beat every control, and the sentences where none does."""

import numpy as np
import pytest

from megadocs.analysis.control_gate import (
    control_rows,
    failed_gate,
    no_control,
    null_texts,
    passing_arms,
    strongest_control,
    takes_most,
)
from megadocs.analysis.document_noise import DocumentNoise
from megadocs.analysis.paired import PairedLosses
from megadocs.analysis.seed_noise import seed_noise
from megadocs.recipe import AnalysisConfig


def table_of(seeds: int = 3, **losses: float) -> PairedLosses:
    """Arms of these mean losses, with run noise of about .002 nats and no noise over documents."""
    rng = np.random.default_rng(2)
    runs = tuple((arm, seed) for arm in losses for seed in range(seeds))
    values = np.array([losses[arm] for arm, _ in runs]) + rng.normal(0, 0.002, len(runs))
    documents = DocumentNoise(np.zeros((9, len(runs))), 8.0, 9, "documents", 9)
    return PairedLosses(runs, values, documents, seed_noise(runs, values, dict.fromkeys(losses, "")))


def test_the_null_controls_say_nothing_that_the_source_does_not() -> None:
    assert null_texts() == {
        "shuffled_words": "rephrases whose words are in random order",
        "shuffled_thoughts": "thoughts whose words are in random order",
        "repeat": "copies of the documents",
    }


def test_an_arm_must_be_better_than_every_control() -> None:
    table = table_of(good=4.0, between=4.5, worse=6.0, shuffled=5.0, copies=4.3)
    rows = control_rows(table, ["good", "between", "worse"], ["shuffled", "copies"], AnalysisConfig())
    assert [(row["arm"], row["beats"]) for row in rows] == [("good", True), ("between", False), ("worse", False)]
    assert [entry.reference for entry in rows[0]["against"]] == ["shuffled", "copies"]
    assert rows[0]["against"][0].difference == pytest.approx(-1.0, abs=0.01)
    assert all(row["p_holm"] < 1e-6 for row in rows)  # worse is separated, too: beating takes the lower loss
    alone = control_rows(table, ["between"], ["shuffled"], AnalysisConfig())
    assert alone[0]["beats"]


def test_the_largest_of_an_arms_p_values_counts_and_holm_is_over_arms() -> None:
    table = table_of(first=4.0, second=4.0, far=5.0, near=4.003)
    config = AnalysisConfig()
    rows = control_rows(table, ["first", "second"], ["far", "near"], config)
    largest = [max(entry.p_value for entry in row["against"]) for row in rows]
    assert [row["p_holm"] for row in rows] == pytest.approx(
        [min(1, 2 * min(largest)) if p == min(largest) else max(p, min(1, 2 * min(largest))) for p in largest]
    )


def test_without_seeds_to_compare_nothing_is_beaten() -> None:
    rows = control_rows(table_of(seeds=1, good=4.0, shuffled=5.0), ["good"], ["shuffled"], AnalysisConfig())
    assert (rows[0]["beats"], rows[0]["p_holm"]) == (False, None)


def block(**beats: bool) -> dict:
    against = [{"arm": "simple", "reference": "shuffled_words", "difference": -0.004, "interval": [-0.01, 0.002]}]
    rows = [{"arm": arm, "beats": wins, "p_holm": 0.2, "against": against} for arm, wins in beats.items()]
    return {"null_controls": ["shuffled_words", "copies"], "controls": rows}


def test_a_control_has_a_share_of_each_gain() -> None:
    table = table_of(real_only=5.0, good=4.0, close=4.5, worse=5.5, shuffled=4.6, copies=4.9)
    arms, controls = ["good", "close", "worse"], ["copies", "shuffled"]
    rows = control_rows(table, arms, controls, AnalysisConfig())
    assert strongest_control(table, controls) == "shuffled"
    assert [row["gain_share"] for row in rows[:2]] == pytest.approx([0.4, 0.8], abs=0.01)
    assert rows[0]["gain_share_interval"] == pytest.approx([0.39, 0.41], abs=0.01)
    assert rows[2]["gain_share"] is rows[2]["gain_share_interval"] is None  # it has gained nothing
    assert [takes_most(row) for row in rows] == [False, True, False]
    assert takes_most({"gain_share": 0.5}) and not takes_most({"gain_share": 0.4999})


def test_without_a_loss_there_is_no_share() -> None:
    broken = table_of(real_only=5.0, good=4.0, shuffled=float("nan"), copies=4.9)
    assert strongest_control(broken, ["shuffled"]) is None
    assert strongest_control(broken, ["shuffled", "copies"]) == "copies"
    assert control_rows(broken, ["good"], ["shuffled"], AnalysisConfig())[0]["gain_share"] is None
    no_baseline = table_of(good=4.0, shuffled=4.5)
    assert control_rows(no_baseline, ["good"], ["shuffled"], AnalysisConfig())[0]["gain_share"] is None
    worse_than_nothing = table_of(real_only=5.0, good=4.0, shuffled=5.5)
    (row,) = control_rows(worse_than_nothing, ["good"], ["shuffled"], AnalysisConfig())
    assert row["gain_share"] == pytest.approx(-0.5, abs=0.01)


def test_sentences_of_the_gate() -> None:
    lost = block(simple=False, stitched=False)
    failed = failed_gate(lost, ["simple", "stitched"])
    assert failed is not None
    assert failed.start == (
        "No synthetic arm was shown to beat text without meaning, the control shuffled_words and copies"
    )
    assert failed.end == (
        " (simple against shuffled_words \N{MINUS SIGN}0.004 nats [\N{MINUS SIGN}0.010, +0.002]; simple against "
        "shuffled_words \N{MINUS SIGN}0.004 nats [\N{MINUS SIGN}0.010, +0.002]); whatever these numbers say of "
        "settings and baseline, they do not show that what the synthetic text says was worth anything"
    )
    for row in lost["controls"]:
        row["p_holm"] = None
    failed = failed_gate(lost, ["simple"])
    assert failed is not None and failed.end.startswith("; whatever")
    assert failed.start == (
        "No synthetic arm could be compared with text without meaning, the control shuffled_words and copies"
    )
    assert failed_gate(block(simple=True), ["simple"]) is None
    assert failed_gate(lost, []) is None
    assert failed_gate({"null_controls": [], "controls": []}, ["simple"]) is None


def test_claims_are_for_arms_that_beat_the_control() -> None:
    assert passing_arms(block(simple=True, stitched=False), ["stitched", "simple"]) == ["simple"]
    bare = {"null_controls": [], "controls": []}
    assert passing_arms(bare, ["stitched", "simple"]) == ["stitched", "simple"]
    assert no_control(block(simple=True), ["simple"]) == no_control(bare, []) == []
    assert no_control(bare, ["simple"]) == [
        "No control without meaning was trained (an arm with stream.ordering=shuffled_words): a badly tuned baseline "
        "would make any additional text look good, and nothing here would show it."
    ]
