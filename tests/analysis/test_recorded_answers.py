"""What the analysis says of recorded and of simulated experiments, whole: every word and number of it is kept."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from megadocs.analysis import (
    BenchmarkScore,
    RunFacts,
    analyze_experiment,
    answer_sentences,
    benchmark_results,
    floor_sentences,
    gate_sentences,
    headline_floor,
    near_duplicate_sentences,
    parse_results,
    search_warnings,
    truncation_sentences,
    tuning_sentences,
)
from megadocs.analysis.arm_settings import settings_columns, settings_table
from megadocs.analysis.paper_series import paper_figures
from megadocs.analysis.paper_tables import best_settings, compute_groups, controlled_against_tuned, student_scaling
from megadocs.analysis.published import check_published
from megadocs.recipe import AnalysisConfig

from ..golden import assert_golden
from .fixtures_experiment import QUICKSTART_ARMS, Experiment, make_experiment, make_paper_experiment

ROOT = Path(__file__).parents[2] / "results"
#: Records of the schema of today.
RECORDS = ["demo", "small", "order/passages", "world/ensembles"]


def sentences(results: dict[str, Any]) -> dict[str, Any]:
    """All that is said of an experiment."""
    return {
        "answer": answer_sentences(results),
        "tuning": tuning_sentences(results),
        "floor": floor_sentences(results),
        "headline_floor": headline_floor(results),
        "near_duplicates": near_duplicate_sentences(results),
        "truncation": truncation_sentences(results["generations"]),
        "search": search_warnings(results),
        "gate": gate_sentences(results["gate"], results) if results.get("gate") else None,
        "settings": [settings_columns(results["arms"]), settings_table(results["arms"])],
    }


@pytest.mark.parametrize("record", RECORDS)
def test_what_is_said_of_a_recorded_experiment(record: str) -> None:
    path = ROOT / record / "results.json"
    results = parse_results(path.read_bytes(), str(path))
    assert_golden(f"said_of_{record.replace('/', '_')}", sentences(results))


def tables(results: dict[str, Any]) -> dict[str, Any]:
    """The paper's figures and tables of an experiment."""
    return {
        "figures": paper_figures(results),
        "against_compute": paper_figures(results, against_compute=True),
        "best_settings": best_settings(results),
        "controlled": controlled_against_tuned(results),
        "students": student_scaling(results),
        "compute": compute_groups(results),
    }


def test_the_papers_figures_of_a_recorded_experiment() -> None:
    path = ROOT / "small" / "results.json"
    assert_golden("paper_of_small", tables(parse_results(path.read_bytes(), str(path))))


def test_the_papers_figures_of_a_simulated_one() -> None:
    """With students of two sizes and with benchmarks."""
    made = make_paper_experiment()
    large = [run for run in made.runs if run.arm in ("real_only", "simple_g8", "stitched_g8")]
    runs = [*made.runs, *(dataclasses.replace(run, arm=f"large_{run.arm}", num_parameters=9_000_000) for run in large)]
    chosen = {run.arm for run in large}
    more = [
        dataclasses.replace(table, arm=f"large_{table.arm}", sum_nll=table.sum_nll - 9.0)
        for table in made.scores
        if table.arm in chosen
    ]
    results = analyze_experiment([*made.scores, *more], runs, AnalysisConfig(num_bootstrap=100), expected=made.expected)
    arms = [f"{method}_g{number}" for method in ("simple", "stitched") for number in (2, 4, 8)]
    shares = np.random.default_rng(3).random((len(arms), 2, 2))
    results["benchmarks"] = benchmark_results(
        [
            BenchmarkScore(arm, seed, task, float(shares[row, seed, column]), 100, 0.25, num_truncated=row)
            for row, arm in enumerate(arms)
            for seed in (0, 1)
            for column, task in enumerate(("piqa", "sciq"))
        ],
        arms,
    )
    results["sets"][1:] = sorted(results["sets"][1:], key=lambda block: block["mode"])  # validation alone comes first
    assert_golden("paper_of_simulated", {**tables(results), "benchmarks": results["benchmarks"]})


#: What an arm is called -> what it changes of `stitched_g8`.
CONDITIONS: dict[str, dict[str, Any]] = {
    "mixed": {"separate_real_stream": True},
    "unmixed": {"separate_real_stream": False},
    "across": {"attention_boundary": "none"},
    "by_row": {"attention_boundary": "row"},
    "by_document": {"attention_boundary": "document"},
    "anywhere": {"real_document": "random"},
    "shuffled": {"ordering": "shuffled_words"},
    "mis": {"ordering": "mis_stitched"},
    "merged": {"ordering": "merged"},
    "half": {"synthetic_fraction": "0.5"},
    "distilled": {"ordering": "self_distilled", "synthetic_fraction": "0.5", "num_generations": None},
}


def test_the_papers_conditions_of_a_simulated_one() -> None:
    """Self-distillation, order, attention, mixing and controls: one arm each, that differs in nothing else."""
    made = make_paper_experiment()
    runs, scores = list(made.runs), list(made.scores)
    for place, (name, changed) in enumerate(CONDITIONS.items()):
        origin = [run for run in made.runs if run.arm == "stitched_g8"]
        runs += [dataclasses.replace(run, arm=name, settings={**run.settings, **changed}) for run in origin]
        scores += [
            dataclasses.replace(table, arm=name, sum_nll=table.sum_nll + place)
            for table in made.scores
            if table.arm == "stitched_g8"
        ]
    results = analyze_experiment(scores, runs, AnalysisConfig(num_bootstrap=100))
    figures = [figure for figure in paper_figures(results) if figure.is_category or figure.name == "fraction"]
    assert_golden("paper_conditions", [figures, best_settings(results)])


def test_published_numbers_beside_ours() -> None:
    assert_golden("published", check_published())


def analysed(made: Experiment, runs: list[RunFacts] | None = None, **more: Any) -> dict[str, Any]:
    config = AnalysisConfig(num_bootstrap=200, **more.pop("config", {}))
    return analyze_experiment(made.scores, made.runs if runs is None else runs, config, expected=made.expected, **more)


def of_method(run: RunFacts) -> RunFacts:
    """A control among the arms, an arm of another student, one with more real text of its own."""
    if run.arm == "shuffled":
        return dataclasses.replace(run, settings={**run.settings, "ordering": "shuffled_words"})
    return dataclasses.replace(run, num_parameters=9_000_000) if run.arm == "large" else run


def test_an_experiment_with_controls_and_another_student() -> None:
    arms = {
        **QUICKSTART_ARMS,
        "real_again": (6.40, 1, 0, 16.0),
        "shuffled": (6.2, 1, 31_000, 8.0),
        "large": (5.3, 1, 31_000, 8.0),
    }
    made = make_experiment(arms, seeds=(0, 1, 2), num_documents=40)
    sources = {f"{name}-{index:04d}": f"source {index % 7}" for name in ("test", "validation") for index in range(40)}
    runs = [of_method(run) for run in made.runs if (run.arm, run.seed) != ("stitched", 2)]
    scores = [table for table in made.scores if (table.arm, table.seed) != ("stitched", 2)]
    found = analysed(dataclasses.replace(made, scores=scores), runs, groups=sources)
    assert_golden("analysis_of_controls", found)


def test_an_experiment_of_one_seed_and_one_source() -> None:
    made = make_experiment(num_documents=30, seeds=(0,))
    one = {f"{name}-{index:04d}": "the source" for name in ("test", "validation") for index in range(30)}
    assert_golden("analysis_of_one_seed", analysed(made, groups=one, headline=("arxiv", "windowed")))


def test_an_experiment_with_variances_by_arm_and_a_chosen_curve() -> None:
    made = make_experiment(num_documents=30, seeds=(0, 1, 2), sets=("test",))
    config = {"seed_variance": "own", "confidence": 0.9, "equivalence_margin": 0.05}
    assert_golden("analysis_by_arm", analysed(made, config=config, curve_arms=["real_only", "real_4x"]))


def test_some_ties_among_three_arms_are_listed() -> None:
    made = make_experiment(num_documents=40)
    results = analysed(made)
    verdicts = [
        ("simple", "stitched", True),
        ("simple", "latent_thoughts", False),
        ("stitched", "latent_thoughts", True),
    ]
    for pair, (arm, reference, is_tied) in zip(results["sets"][0]["pairs"], verdicts, strict=True):
        assert (pair["arm"], pair["reference"]) == (arm, reference)
        pair["verdict"] = "not separated" if is_tied else "separated"
    first = answer_sentences(results)[0]
    assert first.endswith("; not separated: simple from stitched and stitched from latent_thoughts."), first


def test_losses_that_are_no_numbers_are_named() -> None:
    made = make_experiment(num_documents=20)

    def first_of(*arms: str) -> str:
        """The first sentence, where the losses of some arms are not numbers."""
        spoilt = [
            dataclasses.replace(table, sum_nll=table.sum_nll * np.nan) if table.arm in arms else table
            for table in made.scores
        ]
        return str(analysed(dataclasses.replace(made, scores=spoilt))["answer"][0])

    end = "is not a number, so what the synthetic text was worth is not known"
    assert first_of("simple", "stitched", "latent_thoughts") == f"The loss of every synthetic arm {end}."
    assert first_of("real_only") == f"The loss of the baseline real_only {end}; simple and stitched are not separated."
