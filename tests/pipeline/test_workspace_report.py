"""One report over the recipes of a workspace: shared runs once, name clashes apart, other corpora left out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from megadocs.errors import DamagedError, InputError
from megadocs.pipeline import workspace_report
from megadocs.pipeline.run import run_experiment
from megadocs.pipeline.workspace_report import report_workspace
from megadocs.recipe import Recipe, load_recipe
from megadocs.store.artifact import Workspace
from pipeline.inline import InlineExecutor


def small(toy_recipe: Path, name: str, arms: dict[str, Any], *more: str) -> Recipe:
    tiny = ["seeds=[0]", "train.real_epochs=0.5", "model.hidden_size=16", "tokenizer.vocab_size=260"]
    tiny += ["generate.engine.options={transport: memory}", f"arms={json.dumps(arms)}", f"name={name}", *more]
    return load_recipe(toy_recipe, [f"{item}" for item in tiny])


def run(recipe: Recipe, root: Path) -> None:
    assert run_experiment(recipe, root, executor=InlineExecutor(root)).errors == []


def test_runs_of_several_recipes_on_one_page(toy_recipe: Path, tmp_path: Path) -> None:
    root = tmp_path / "ws"
    simple = {"stream.ordering": "simple", "mixture.synthetic_fraction": 0.75}
    run(small(toy_recipe, "first", {"real_only": {}, "long": {"train.real_epochs": 1.0}}), root)
    run(small(toy_recipe, "second", {"real_only": {}, "also_long": {"train.real_epochs": 1.0}, "long": simple}), root)
    run(small(toy_recipe, "elsewhere", {"real_only": {}}, "corpus.seed=7"), root)
    run(small(toy_recipe, "second", {"real_only": {}, "also_long": {"train.real_epochs": 1.0}, "long": simple}), root)

    outcome = report_workspace(root, executor=InlineExecutor(root))
    assert outcome.report is not None
    results = json.loads((root / "results.json").read_text())
    assert [row["arm"] for row in results["arms"]] == ["real_only", "also_long", "long"]
    assert len(results["runs"]) == 3  # `first` adds nothing: its arms are those of `second`, under other names
    assert results["left_out"] == {"elsewhere": "a recipe over another corpus or tokenizer: it has a report of its own"}
    assert results["recipes"] == ["second", "first"]
    assert 'href="recipes/first.json"' in (root / "report.html").read_text()
    assert report_workspace(root, executor=InlineExecutor(root)).report == outcome.report


def test_a_shared_run_has_the_sets_of_both_recipes(toy_recipe: Path, tmp_path: Path) -> None:
    root = tmp_path / "ws"
    pair = "ensembles={pair: {arm: real_only, num_members: 2}}"
    sets = [json.dumps({name: {"past": [30]}}) for name in ("one", "two")]
    for name, given in zip(("first", "second"), sets, strict=True):
        run(small(toy_recipe, name, {"real_only": {}}, f"evaluate.sets={given}", pair), root)
    _, experiment, _ = workspace_report.merge_experiments(Workspace(root))
    (shared,) = experiment.runs
    assert set(shared.scored.sets) == {"one", "two"}
    assert [(ensemble.name, set(ensemble.scored.sets)) for ensemble in experiment.ensembles] == [
        ("pair", {"one", "two"})
    ]
    report_workspace(root, executor=InlineExecutor(root))
    results = json.loads((root / "results.json").read_text())
    assert {table["set"] for table in results["positions"]} == {"one", "two"}


def test_one_name_for_two_arms(toy_recipe: Path, tmp_path: Path) -> None:
    root = tmp_path / "ws"
    large = {"mixture.real_multiple": 64}
    run(small(toy_recipe, "first", {"real_only": {}, "long": {"train.real_epochs": 1.0}, "large": large}), root)
    run(small(toy_recipe, "second", {"real_only": {}, "long": {"train.real_epochs": 2.0}}), root)
    _, experiment, others = workspace_report.merge_experiments(Workspace(root))
    assert [run.arm.name for run in experiment.runs] == ["real_only", "long", "first.long"]
    assert others == ["first"]
    assert list(experiment.left_out) == ["large"]


def test_a_damaged_recipe_is_named(tmp_path: Path) -> None:
    (tmp_path / "recipes").mkdir()
    (tmp_path / "recipes" / "x.json").write_text('{"name": 3}')
    with pytest.raises(DamagedError) as caught:
        report_workspace(tmp_path)
    assert str(caught.value.where).endswith("x.json")


def test_a_workspace_without_recipes_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no recipe has run here"):
        report_workspace(tmp_path)


def test_a_shared_run_keeps_its_gate(toy_recipe: Path, tmp_path: Path) -> None:
    root = tmp_path / "ws"
    simple = {"stream.ordering": "simple", "mixture.synthetic_fraction": 0.75}
    for name in ("first", "second"):
        run(small(toy_recipe, name, {"real_only": {}, "simple": simple}, f"evaluate.gate={name == 'first'}"), root)
    _, experiment, others = workspace_report.merge_experiments(Workspace(root))
    assert others == ["first"]
    assert [run.scored.gate is not None for run in experiment.runs] == [False, True]
