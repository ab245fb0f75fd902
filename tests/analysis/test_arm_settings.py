"""Settings of the arms: only what differs is said to differ, with its values; another student is not compared."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from megadocs.analysis import analyze_experiment
from megadocs.analysis.arm_settings import settings_sentences, settings_table
from megadocs.recipe import AnalysisConfig

from .fixtures_experiment import Experiment, make_experiment

CONFIG = AnalysisConfig(num_bootstrap=100)
BASE = {"learning_rate": 0.03, "weight_decay": 12.8, "batch_size": 4, "warmup_fraction": 0.02}
SHAPE = {"hidden_size": 16, "num_hidden_layers": 1, "rope_theta": 10_000.0}


def analyze(**changes: dict[str, Any]) -> dict[str, Any]:
    """An experiment whose arms have the same settings but for `changes` (arm -> field of the facts -> value)."""
    made = make_experiment()
    runs = []
    for run in made.runs:
        own = changes.get(run.arm, {})
        settings = {"ordering": run.settings["ordering"], **BASE, **own.get("settings", {})}
        if run.synthetic_tokens:
            settings = {"synthetic_fraction": "0.75", **settings}
        facts = {key: value for key, value in own.items() if key not in ("settings", "student")}
        student = {**SHAPE, **own.get("student", {})}
        runs.append(dataclasses.replace(run, settings=settings, student=student, **facts))
    made = Experiment(made.scores, runs, made.expected)
    return analyze_experiment(made.scores, made.runs, CONFIG, expected=made.expected)


def sentence(results: dict[str, Any]) -> str:
    (found,) = settings_sentences(results)
    assert found in results["answer"]
    return found


def test_the_same_settings_are_listed() -> None:
    assert sentence(analyze()) == (
        "Every arm has the same settings: real epochs 8, batch size 4, student parameters 1,328,256, learning "
        "rate 0.03, weight decay 12.8 and synthetic fraction 0.75."
    )


def test_what_is_equal_is_not_said_to_differ() -> None:
    low = {"settings": {"learning_rate": 0.01}}
    found = sentence(analyze(simple=low, stitched=low))
    assert found.startswith("Learning rate (0.03 in 4 arms; 0.01 in simple and stitched) differs between arms; the ")
    assert "weight decay 12.8" in found.partition("the same in all")[2]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"planned_real_epochs": 40.0}, "Real epochs (8 in 5 arms; 40 in simple) differ"),
        ({"settings": {"batch_size": 1}}, "Batch size (4 in 5 arms; 1 in simple) differs"),
        ({"settings": {"weight_decay": 0.8}}, "Weight decay (12.8 in 5 arms; 0.8 in simple) differs"),
        ({"settings": {"synthetic_fraction": "0.5"}}, "Synthetic fraction (0.5 in simple; 0.75 in stitched and"),
        ({"settings": {"warmup_fraction": 0.1}}, "Warmup fraction (0.02 in 5 arms; 0.1 in simple) differs"),
        ({"settings": {"dtype": "float32"}}, None),  # unknown of the other arms, so not known to differ
        ({"student": {"rope_theta": 5e5}}, "Rope theta (10,000 in 5 arms; 500,000 in simple) differs"),
    ],
)
def test_every_setting_that_differs_is_named_with_its_values(change: dict[str, Any], words: str | None) -> None:
    found = sentence(analyze(simple=change))
    assert found.startswith(words or "Every arm has the same settings")


def test_another_student_is_not_compared() -> None:
    big = {
        "num_parameters": 4_000_000,
        "planned_real_epochs": 8.0,
        "student": {"hidden_size": 64},
        "settings": {"batch_size": 1},
    }
    results = analyze(simple=big, real_4x=big)
    assert results["other_students"] == dict.fromkeys(("real_4x", "simple"), "hidden size 64 against 16")
    for block in results["sets"]:
        assert "simple" not in {row["arm"] for row in block["data_efficiency"]}
        assert "real_4x" not in {point["arm"] for point in block["curve"]}
        assert block["best"]["num_arms"] == 2
        assert [(row["arm"], row["reference"]) for row in block["pairs"]] == [("stitched", "latent_thoughts")]
        assert block["pairs_of"] == "all"
    answer = results["answer"]
    (said,) = [line for line in answer if "not comparable" in line]
    assert "simple (hidden size 64 against 16)" in said
    assert not any("simple" in line for line in answer[: answer.index(said)] if "more tokens" not in line)
    assert "student parameters (1,328,256 in 4 arms; 4,000,000 in real_4x and simple)" in sentence(results)


def test_without_shapes_the_number_of_parameters_tells_students_apart() -> None:
    made = make_experiment()
    runs = [dataclasses.replace(run, num_parameters=9) if run.arm == "simple" else run for run in made.runs]
    results = analyze_experiment(made.scores, runs, CONFIG, expected=made.expected)
    assert results["other_students"] == {"simple": "9 against 1,328,256 parameters"}


def test_where_no_arm_trains_the_students_of_the_baseline_nothing_is_claimed() -> None:
    other = {"student": {"hidden_size": 64}}
    answer = analyze(simple=other, stitched=other, latent_thoughts=other)["answer"]
    assert answer[0].startswith("No synthetic arm trains the student of real_only")


def test_the_table_has_every_main_setting_and_what_else_differs() -> None:
    columns, rows = settings_table(analyze(stitched={"settings": {"warmup_fraction": 0.1}})["arms"])
    assert [column.title for column in columns] == [
        "real epochs",
        "batch size",
        "student parameters",
        "learning rate",
        "weight decay",
        "synthetic fraction",
        "warmup fraction",
    ]
    assert dict(rows)["real_only"] == ["8", "4", "1,328,256", "0.03", "12.8", "", "0.02"]
    assert dict(rows)["stitched"][-2:] == ["0.75", "0.1"]
