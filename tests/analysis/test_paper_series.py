"""Figures of the paper as data: found by settings, tuned on validation, published values beside."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from megadocs.analysis import EnsembleLoss, RunFacts, analyze_experiment, ensemble_results
from megadocs.analysis.paper_arms import arm_views, tuned_arms
from megadocs.analysis.paper_series import paper_figures
from megadocs.analysis.paper_tables import best_settings, controlled_against_tuned
from megadocs.recipe import AnalysisConfig

from .fixtures_experiment import make_experiment, make_paper_experiment


@pytest.fixture(scope="module")
def results() -> dict:
    made = make_paper_experiment()
    return analyze_experiment(made.scores, made.runs, AnalysisConfig(num_bootstrap=100), expected=made.expected)


def test_three_methods_over_generations(results: dict) -> None:
    figure = next(item for item in paper_figures(results) if item.name == "generations")
    assert {series.name: [point.x for point in series.points] for series in figure.own} == {
        "simple": [2.0, 4.0, 8.0],
        "stitched": [2.0, 4.0, 8.0],
        "latent_thoughts": [2.0, 4.0, 8.0],
    }
    losses = {row["arm"]: row["loss"] for row in results["sets"][0]["losses"]}
    assert all(point.value == losses[point.arm] for series in figure.own for point in series.points)
    assert figure.published[0].points[0].value == 3.4620


def test_an_arm_is_chosen_by_its_validation_loss_in_the_headlines_mode(results: dict) -> None:
    blocks = {(block["set"], block["mode"]): block["losses"] for block in results["sets"]}
    validation = {row["arm"]: row["loss"] for row in blocks["validation", "windowed"]}
    shown = {row["arm"]: row["loss"] for row in blocks["test", "windowed"]}
    assert {view.arm: (view.validation, view.loss) for view in arm_views(results)} == {
        arm: (validation[arm], shown[arm]) for arm in shown
    }


def test_tuning_looks_at_validation_only(results: dict) -> None:
    views = arm_views(results)
    grid = [view for view in views if view.arm.startswith("simple_g8")]
    assert len(grid) == 4
    worst_on_test = max(grid, key=lambda view: view.loss)
    turned = [dataclasses.replace(view, validation=0.0 if view is worst_on_test else 9.0) for view in grid]
    assert [view.arm for view in tuned_arms(turned)] == [worst_on_test.arm]


def test_every_kind_of_figure_is_found(results: dict) -> None:
    own = {figure.name for figure in paper_figures(results) if figure.own}
    assert {"generations", "controlled", "real_epochs", "ensembles", "order"} <= own
    ensembles = next(figure for figure in paper_figures(results) if figure.name == "ensembles")
    assert ensembles.own[0].law is not None
    assert ensembles.own[0].law.asymptote == pytest.approx(5.7, abs=0.2)
    published = {series.name: series.law.asymptote for series in ensembles.published if series.law}
    assert published == {
        "real_only": pytest.approx(3.31, abs=0.01),
        "self_distilled": pytest.approx(3.325, abs=0.01),
        "simple": pytest.approx(3.21, abs=0.01),
    }


def test_compute_on_the_x_axis(results: dict) -> None:
    figure = next(item for item in paper_figures(results, against_compute=True) if item.name == "generations")
    facts = {row["arm"]: row for row in results["arms"]}
    for series in figure.own:
        for point in series.points:
            row = facts[point.arm]
            assert point.x == pytest.approx(6 * row["num_parameters"] * row["train_tokens"])


def test_best_settings_stand_beside_the_published(results: dict) -> None:
    rows = {(row["method"], row["num_generations"]): row for row in best_settings(results)}
    assert rows["stitched", 8]["published"] == [16, 0.75, 3e-3, 0.4]
    assert float(rows["stitched", 8]["own"][2]) == 3e-3


def test_a_plain_experiment_has_published_figures_only() -> None:
    made = make_experiment(num_documents=40)
    results = analyze_experiment(made.scores, made.runs, AnalysisConfig(num_bootstrap=100))
    assert not any(figure.own for figure in paper_figures(results))
    assert np.isfinite([view.loss for view in arm_views(results)]).all()


def test_one_setting_for_all_is_not_called_tuned() -> None:
    made = make_paper_experiment()
    runs = [run for run in made.runs if "_e" not in run.arm]
    scores = [table for table in made.scores if any(table.arm == run.arm for run in runs)]
    found = analyze_experiment(scores, runs, AnalysisConfig(num_bootstrap=100))
    figures = {figure.name: figure for figure in paper_figures(found)}
    assert figures["generations"].title == "Loss against generations, one setting for every method"
    assert "controlled" not in figures
    assert controlled_against_tuned(found) == []


def test_controls_stand_beside_their_own_generations_only() -> None:
    made = make_paper_experiment()
    runs = [
        dataclasses.replace(run, settings={**run.settings, "ordering": "mis_stitched"})
        if run.arm == "stitched_none"
        else run
        for run in made.runs
    ]
    found = analyze_experiment(made.scores, runs, AnalysisConfig(num_bootstrap=100))
    (controls,) = [figure for figure in paper_figures(found) if figure.name == "controls"]
    labels = {point.x for point in controls.own[0].points}
    assert "mis_stitched, G = 8" in labels
    assert "real documents only" in labels
    assert not any("G = 2" in str(label) or "G = 4" in str(label) for label in labels)


def test_an_asymptote_that_the_runs_do_not_identify_is_not_drawn() -> None:
    losses = [EnsembleLoss("x4", "real_only", "test", "windowed", "logits", k, 1, 6.0 + 0.4 / k) for k in (1, 2, 3, 4)]
    made = make_paper_experiment()
    found = analyze_experiment(made.scores, made.runs, AnalysisConfig(num_bootstrap=100))
    found |= ensemble_results(losses, ("test", "windowed"), 0.95)
    for is_identified in (True, False):
        found["ensemble_laws"][0]["is_asymptote_identified"] = is_identified
        (figure,) = [figure for figure in paper_figures(found) if figure.name == "ensembles"]
        (own,) = [series for series in figure.own if series.name == "x4"]
        assert own.law is not None
        assert own.is_asymptote_shown is is_identified
        assert all(series.is_asymptote_shown for series in figure.published)


def sized(run: RunFacts) -> RunFacts:
    """Arms of G = 8 once more with a larger student, except the baseline."""
    return dataclasses.replace(run, arm=f"large_{run.arm}", num_parameters=9_000_000)


def test_another_student_size_is_in_the_figure_of_students_only() -> None:
    made = make_paper_experiment()
    kept = [run for run in made.runs if "ensemble" not in run.arm]
    runs = [*kept, *(sized(run) for run in kept if run.arm in ("real_only", "simple_g8", "stitched_g8"))]
    more = [dataclasses.replace(table, arm=f"large_{table.arm}") for table in made.scores]
    scores = [table for table in (*made.scores, *more) if any(table.arm == run.arm for run in runs)]
    found = analyze_experiment(scores, runs, AnalysisConfig(num_bootstrap=100))
    figures = {figure.name: figure for figure in paper_figures(found)}
    drawn = {
        name: {point.arm for series in figure.own for point in series.points}
        for name, figure in figures.items()
        if name not in ("students", "ensembles")
    }
    assert drawn["generations"]
    assert not any(arm.startswith("large_") for arms in drawn.values() for arm in arms)
    assert not any(row["tuned_arm"].startswith("large_") for row in controlled_against_tuned(found))
    students = {series.name: [point.arm for point in series.points] for series in figures["students"].own}
    assert students == {
        "real_only": ["real_only", "large_real_only"],
        "simple": ["simple_g8", "large_simple_g8"],
        "stitched": ["stitched_g8", "large_stitched_g8"],
    }


def test_a_series_over_epochs_differs_in_nothing_else() -> None:
    made = make_paper_experiment()
    runs = [
        dataclasses.replace(run, settings={**run.settings, "learning_rate": 1e-2})
        if run.arm == "simple_g8_e16"
        else run
        for run in made.runs
    ]
    found = analyze_experiment(made.scores, runs, AnalysisConfig(num_bootstrap=100))
    (figure,) = [figure for figure in paper_figures(found) if figure.name == "real_epochs"]
    assert [(series.name, [point.x for point in series.points]) for series in figure.own] == [
        ("simple, G = 8", [2.0, 4.0, 8.0])
    ]


def test_an_ablation_is_compared_with_the_arm_that_differs_in_nothing_else() -> None:
    made = make_paper_experiment()
    best = [dataclasses.replace(run, arm="stitched_tuned") for run in made.runs if run.arm == "stitched_g8"]
    best = [dataclasses.replace(run, settings={**run.settings, "learning_rate": 1e-2}) for run in best]
    tables = [dataclasses.replace(t, arm="stitched_tuned", sum_nll=t.sum_nll - 1.0) for t in made.scores]
    scores = [*made.scores, *(t for t, old in zip(tables, made.scores, strict=True) if old.arm == "stitched_g8")]
    found = analyze_experiment(scores, [*made.runs, *best], AnalysisConfig(num_bootstrap=100))
    (figure,) = [figure for figure in paper_figures(found) if figure.name == "order"]
    arms = {point.x: point.arm for point in figure.own[0].points}
    assert arms["stitched, G = 8, real document last"] == "stitched_g8"
