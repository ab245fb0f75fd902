"""Tables beside the figures: equal compute, controlled against tuned, students, from losses set by hand."""

from __future__ import annotations

from typing import Any

import pytest

from megadocs.analysis.paper_series import paper_figures
from megadocs.analysis.paper_tables import compute_groups, controlled_against_tuned, student_scaling


def make_results(arms: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """The part of the results that the tables read; losses are one number a seed."""
    rows, losses = [], []
    for name, arm in arms.items():
        seeds = [{"seed": seed, "loss": loss} for seed, loss in enumerate(arm["losses"])]
        losses.append({"arm": name, "loss": sum(arm["losses"]) / len(seeds), "seeds": seeds})
        kind = "synthetic" if arm.get("ordering") else "real"
        settings = {key: arm.get(key) for key in ("ordering", "num_generations", "learning_rate", "synthetic_fraction")}
        settings |= {key: arm[key] for key in ("attention_boundary", "real_document") if key in arm}
        facts = {"arm": name, "kind": kind, "real_tokens": 1000, "settings": settings, "train_tokens": 10}
        facts |= {"flops": arm["flops"], "num_parameters": arm.get("num_parameters", 100), "seconds": 1.0}
        rows.append({**facts, "planned_real_epochs": arm.get("epochs", 8)})
    headline = {"set": "test", "mode": "windowed"}
    return {
        "baseline": "real_only",
        "headline": headline,
        "arms": rows,
        "sets": [{**headline, "losses": losses}, {"set": "validation", "mode": "windowed", "losses": losses}],
    }


ARMS = {
    "real_only": {"losses": [6.0, 6.1], "flops": 1e12},
    "simple": {"losses": [5.8, 5.7], "flops": 4e12, "ordering": "simple", "num_generations": 2},
    "real_long": {"losses": [5.95, 6.0], "flops": 4.05e12, "epochs": 32},
    "stitched": {"losses": [5.7, 5.7], "flops": 4e12, "ordering": "stitched", "num_generations": 2},
    "simple_long": {"losses": [5.6, 5.6], "flops": 8e12, "ordering": "simple", "num_generations": 2, "epochs": 16},
}


def test_groups_of_equal_compute() -> None:
    rows = {row["arm"]: row for row in compute_groups(make_results(ARMS))}
    assert [rows[arm]["group"] for arm in ("real_only", "simple", "real_long", "stitched", "simple_long")] == [
        0,
        1,
        1,
        1,
        2,
    ]
    assert rows["simple"]["reference"] == "real_long"  # real text alone at the same compute, not the baseline
    assert rows["simple"]["seed_differences"] == pytest.approx([-0.15, -0.3])
    assert len(rows["simple"]["seeds"]) == 2
    assert rows["simple"]["difference"] == pytest.approx(-0.225)
    assert rows["simple_long"]["reference"] is None
    assert rows["real_long"]["is_reference"]
    assert not rows["simple_long"]["is_reference"]


def test_more_real_text_is_no_reference() -> None:
    results = make_results({**ARMS, "real_4x": {"losses": [5.0, 5.0], "flops": 4e12}})
    results["arms"][-1]["real_tokens"] = 4000
    rows = {row["arm"]: row for row in compute_groups(results)}
    assert rows["real_4x"]["has_other_documents"]
    assert (rows["real_4x"]["reference"], rows["simple"]["reference"]) == (None, "real_long")


def test_equal_compute_takes_the_verdict_of_the_analysis() -> None:
    results = make_results({name: ARMS[name] for name in ("real_only", "simple", "stitched")})
    pair = {"arm": "simple", "reference": "stitched", "interval": [0.01, 0.09], "verdict": "separated"}
    results["sets"][0]["pairs"] = [pair]
    rows = {row["arm"]: row for row in compute_groups(results)}
    assert rows["stitched"]["reference"] == "simple"
    assert (rows["stitched"]["interval"], rows["stitched"]["verdict"]) == ([-0.09, -0.01], "separated")
    assert rows["simple"]["verdict"] is None


def test_controlled_beside_tuned() -> None:
    rows = {row["method"]: row for row in controlled_against_tuned(make_results(ARMS))}
    assert (rows["simple"]["tuned_arm"], rows["simple"]["controlled_arm"]) == ("simple_long", "simple")
    assert (rows["stitched"]["tuned_arm"], rows["stitched"]["controlled_arm"]) == ("stitched", "stitched")
    assert rows["simple"]["tuned"][0] == 16
    assert rows["simple"]["controlled"] == rows["stitched"]["controlled"]


def test_students_are_compared_at_their_own_size() -> None:
    large = {
        "real_large": {"losses": [5.5, 5.5], "flops": 9e12, "num_parameters": 900},
        "simple_large": {"losses": [5.1, 5.3], "flops": 9e12, "num_parameters": 900, "ordering": "simple"},
    }
    large["simple_large"]["num_generations"] = 2
    rows = {row["arm"]: row for row in student_scaling(make_results({**ARMS, **large}))}
    assert rows["simple_large"]["difference"] == pytest.approx(-0.3)
    assert rows["simple_large"]["real_only_arm"] == "real_large"
    assert rows["simple_long"]["real_only_arm"] == "real_long"  # the better of the two at 100 parameters
    assert student_scaling(make_results(ARMS)) == []


def test_a_figure_needs_a_contrast() -> None:
    plain = {figure.name for figure in paper_figures(make_results(ARMS)) if figure.own}
    assert not plain & {"attention", "mixing", "order", "self_distillation", "controls"}
    on, off = ({"attention_boundary": boundary} for boundary in ("none", "row"))
    pair = {"simple": ARMS["simple"] | on, "simple_off": ARMS["simple"] | off}
    figures = {figure.name: figure for figure in paper_figures(make_results({**ARMS, **pair}))}
    labels = [point.x for point in figures["attention"].own[0].points]
    assert labels == ["simple, G = 2, on", "simple, G = 2, off"]


def test_benchmark_and_ensemble_figures() -> None:
    other = {"losses": [5.5, 5.5], "flops": 4e12, "ordering": "simple", "num_generations": 4}
    results = make_results({**ARMS, "simple_g4": other})
    rows = [
        {
            "arm": arm,
            "error": error,
            "seed_errors": [{"seed": 0, "error": error - 0.01}, {"seed": 1, "error": error + 0.01}],
        }
        for arm, error in (("simple_long", 0.5), ("simple_g4", 0.4))
    ]
    results["benchmarks"] = {"rows": rows}
    sizes = [(1, 6.0), (2, 5.5), (3, 5.4)]
    entry = {"ensemble": "pair", "set": "test", "mode": "windowed", "average": "logits"}
    results["ensembles"] = [{**entry, "num_members": size, "loss": loss} for size, loss in sizes]
    figures = {figure.name: figure for figure in paper_figures(results)}
    points = figures["benchmarks"].own[0].points
    assert [(point.x, point.value, point.low) for point in points] == [(2.0, 0.5, 0.49), (4.0, 0.4, 0.39)]
    assert "latent thoughts +9 %" in figures["benchmarks"].note
    assert [point.value for point in figures["ensembles"].own[0].points] == [6.0, 5.5, 5.4]
    compute = {figure.name: figure for figure in paper_figures(results, against_compute=True)}
    assert [point.x for point in compute["benchmarks"].own[0].points] == [4e12, 8e12]
    published = {series.name: series for series in compute["generations"].published}
    # simple, G = 2: 4 epochs at 0.75 are 12,432 steps of 262,144 tokens
    assert published["simple"].points[0].x == pytest.approx(6 * 299_649_792 * 12_432 * 262_144)


def test_controlled_settings_may_differ_between_generations_never_within() -> None:
    """As in the authors' figure: simple's optimum of each G."""
    arms = {"real_only": ARMS["real_only"]}
    for generations, epochs in ((2, 4), (8, 16)):
        for method in ("simple", "stitched"):
            row = {"losses": [5.5], "flops": 4e12, "ordering": method, "num_generations": generations, "epochs": epochs}
            arms[f"{method}_{generations}"] = row
    tuned = {**arms["stitched_8"], "losses": [5.3], "epochs": 32}
    rows = controlled_against_tuned(make_results({**arms, "stitched_8_tuned": tuned}))
    controlled = {(row["method"], row["num_generations"]): row["controlled"][0] for row in rows}
    assert controlled == {("simple", 2): 4, ("stitched", 2): 4, ("simple", 8): 16, ("stitched", 8): 16}
    assert controlled_against_tuned(make_results(arms)) == []  # nothing was tuned


def test_a_method_alone_at_its_generations_is_not_controlled() -> None:
    alone = {"losses": [5.5], "flops": 4e12, "ordering": "simple", "num_generations": 8}
    rows = controlled_against_tuned(make_results({**ARMS, "simple_8": alone}))
    assert {row["num_generations"]: row["controlled_arm"] for row in rows if row["method"] == "simple"}[8] is None
