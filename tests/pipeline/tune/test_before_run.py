"""Tuning before a run, over an executor that trains nothing: what is walked, what the other arms get, budgets."""

from __future__ import annotations

import pytest

from megadocs.pipeline.steps.sources import sources_step
from megadocs.pipeline.steps.step import find_artifact
from megadocs.pipeline.tune.before_run import AUTO_RUNS_PER_ARM, arms_to_tune, planned_search, tune_recipe
from megadocs.pipeline.tune.driver import run_search
from megadocs.pipeline.tune.student import STUDENTS, student_for, with_student
from megadocs.recipe import Recipe, TuneBudget
from megadocs.store.artifact import Workspace
from pipeline.tune.test_driver import MadeUpTraining

FRACTION = {"mixture.synthetic_fraction": 0.75}


@pytest.fixture
def recipe(tmp_path):
    source = tmp_path / "texts"
    source.mkdir()
    (source / "one.txt").write_text("A text.", encoding="utf-8")
    axes = {"train.weight_decay": [0.5, 1, 2, 4, 8], "train.real_epochs": [1, 2, 4, 8]}
    return Recipe.model_validate(
        {
            "name": "own",
            "corpus": {"source": str(source), "split": "auto"},
            "generate": {"engine": {"kind": "fake", "model": "fake"}, "rephrase": {"num_generations": 2}},
            "train": {"weight_decay": 1, "real_epochs": 2},
            "arms": {
                "real_only": {},
                "real_2x": {"mixture.real_multiple": 2},
                "shuffled_words": {"stream.ordering": "shuffled_words", **FRACTION},
                "simple": {"stream.ordering": "simple", **FRACTION},
                "stitched": {"stream.ordering": "stitched", **FRACTION},
            },
            "seeds": [0, 1, 2],
            "tune": "auto",
            "search": {"axes": {name: {"values": values} for name, values in axes.items()}},
        }
    )


def corpus_of(recipe, root):
    """The published corpus, as a first search leaves it."""
    run_search(recipe.model_copy(update={"seeds": [0]}), root, max_runs=1, executor=MadeUpTraining(root))
    return find_artifact(sources_step(recipe, Workspace(root)), Workspace(root))


def test_the_baseline_the_curve_and_one_method_are_walked(recipe):
    assert arms_to_tune(recipe, 2) == ["real_only", "real_2x", "simple"]
    assert arms_to_tune(recipe, 1) == ["real_only", "simple"]


def test_budgets(recipe):
    assert planned_search(recipe, 2).search.max_runs == 3 * AUTO_RUNS_PER_ARM
    own = planned_search(recipe.model_copy(update={"tune": TuneBudget(max_runs=5, max_hours=2)}), 2).search
    assert (own.max_runs, own.max_hours) == (5, 2)
    assert planned_search(recipe, 2).seeds == [0]


def test_the_other_synthetic_arms_take_what_was_found_and_nothing_is_trained_twice(recipe, tmp_path):
    root = tmp_path / "ws"
    corpus, executor = corpus_of(recipe, root), MadeUpTraining(root)
    tuning = tune_recipe(recipe, root, corpus, executor)
    assert "close" not in executor.calls
    found = {arm.space.arm.name: arm.certificate.setting for arm in tuning.outcome.arms}
    assert set(found) == {"real_only", "simple"}  # this corpus has 1x
    arms = tuning.recipe.arms
    assert arms["simple"]["train.weight_decay"] == 2  # the bowl's bottom, away from the start
    for name in ("stitched", "shuffled_words"):
        assert {key: arms[name][key] for key in found["simple"]} == found["simple"]
    assert arms["real_only"] == found["real_only"]
    assert arms["real_2x"] == recipe.arms["real_2x"]
    assert tuning.recipe.tune == "off"

    again = MadeUpTraining(root)
    assert tune_recipe(recipe, root, corpus, again).recipe == tuning.recipe
    assert again.trained == []


def test_a_budget_that_ends_leaves_what_was_found(recipe, tmp_path):
    root = tmp_path / "ws"
    small = recipe.model_copy(update={"tune": TuneBudget(max_runs=3)})
    tuning = tune_recipe(small, root, corpus_of(recipe, root), MadeUpTraining(root))
    assert tuning.outcome.ending == "max_runs"
    assert all(arm.certificate.kind == "incomplete" for arm in tuning.outcome.arms)


def test_off_is_off_also_as_yaml_reads_it(recipe, tmp_path):
    off = Recipe.model_validate(recipe.model_dump(mode="json") | {"tune": False})
    assert off.tune == "off"
    assert tune_recipe(off, tmp_path, None, None).outcome is None


def test_tuning_needs_axes(recipe):
    with pytest.raises(ValueError, match="tune needs the section `search`"):
        Recipe.model_validate(recipe.model_dump(mode="json") | {"search": None})


def test_the_student_follows_the_tokens_where_the_recipe_sets_none(recipe):
    assert student_for(12_000) == STUDENTS[0]
    assert student_for(50_000) == STUDENTS[1]
    assert student_for(1e12) == STUDENTS[-1]
    large = with_student(recipe, 2e6)
    assert (large.model.preset, large.train.batch_size) == ("5m", 16)
    own = recipe.model_copy(update={"model": recipe.model.model_copy(update={"hidden_size": 32})})
    assert with_student(own, 2e6).model == own.model
    off = recipe.model_copy(update={"tune": "off"})  # written: `tune=off` changes how it is tuned, not what is trained
    assert with_student(off, 2e6) == large.model_copy(update={"tune": "off"})
    silent = Recipe.model_validate(recipe.model_dump(mode="json", exclude_unset=True, exclude={"tune"}))
    assert with_student(silent, 2e6) == silent
