"""Steps for benchmarks, further sets, ensembles and samples: what they share, and what leaves finished work valid."""

from __future__ import annotations

import json

import pytest

from megadocs.errors import InputError, RecipeError
from megadocs.pipeline.run import steps_of_stage
from megadocs.pipeline.steps.evaluation import member_seeds
from megadocs.pipeline.steps.experiment import CorpusFacts, build_experiment, corpus_step
from megadocs.recipe import MembersConfig, Recipe, build_arms, load_recipe
from pipeline.corpora import write_recipe, write_texts

FACTS = CorpusFacts(num_train_1x=12, max_multiple=2)
SAMPLE = "generate.sample={teacher: {arm: real_only, seeds: [0]}, num_samples: 20}"
STUDENT = "arms.student={stream.ordering: self_distilled}"


@pytest.fixture
def build(tmp_path, split_tokenizer):
    source = write_texts(tmp_path / "texts", 12)
    path = write_recipe(tmp_path / "toy.yaml", source, split_tokenizer)
    items = [{"goal": f"goal {i}", "sol1": "a", "sol2": "b c", "label": i % 2} for i in range(6)]
    (tmp_path / "piqa.jsonl").write_text("".join(json.dumps(item) + "\n" for item in items))

    def build(*overrides):
        overrides = [text.replace("TMP", str(tmp_path)) for text in overrides]
        recipe = load_recipe(path, overrides)
        return build_experiment(recipe, corpus_step(recipe, "d0"), FACTS)

    return build


PIQA = ("evaluate.benchmarks=[piqa]", "evaluate.benchmark_data.piqa=TMP/piqa.jsonl")


def fingerprints(experiment):
    return {step.name: step.fingerprint for step in experiment.steps}


def test_adding_benchmarks_sets_and_ensembles_leaves_everything_else(build):
    before = fingerprints(build())
    more = fingerprints(build(*PIQA, "evaluate.sets.long={past: [10]}", "ensembles.pair={arm: simple}"))
    assert before.items() <= more.items()
    added = more.keys() - before.keys()
    assert {name.split()[0] for name in added} == {"piqa", "set", "ensemble"}
    assert len([name for name in added if name.startswith("piqa")]) == 5 * 2 + 1  # runs and the ensemble


def test_a_set_is_a_step_of_its_own(build):
    one = fingerprints(build("evaluate.sets.long={}"))
    two = fingerprints(build("evaluate.sets.long={}", "evaluate.sets.other=TMP/texts"))
    assert one.items() <= two.items()
    changed = fingerprints(build("evaluate.sets.long={past: [7]}"))
    assert changed["set long simple seed 0"] != one["set long simple seed 0"]
    assert changed["evaluate simple seed 0"] == one["evaluate simple seed 0"]


def test_other_items_are_another_step(build, tmp_path):
    before = fingerprints(build(*PIQA))["piqa simple seed 0"]
    assert fingerprints(build(*PIQA, "evaluate.benchmark_items=3"))["piqa simple seed 0"] != before
    (tmp_path / "piqa.jsonl").write_text(json.dumps({"goal": "g", "sol1": "a", "sol2": "b", "label": 0}) + "\n")
    assert fingerprints(build(*PIQA))["piqa simple seed 0"] != before


@pytest.mark.parametrize(
    ("config", "seeds", "expected"),
    [
        ({}, [3, 1], [3, 1]),
        ({"num_members": 4}, [3, 1], [3, 1, 0, 2]),
        ({"num_members": 1}, [5], [5]),
        ({"seeds": [7, 2]}, [0], [7, 2]),
    ],
)
def test_members_take_the_recipes_seeds_first(toy_recipe, config, seeds, expected):
    recipe = load_recipe(toy_recipe, [f"seeds={seeds}"])
    assert member_seeds(MembersConfig(arm="simple", **config), recipe) == expected


def test_members_that_no_run_needs_are_trained_but_not_evaluated_alone(build):
    experiment = build("ensembles.trio={arm: simple, num_members: 3}")
    assert [(run.arm.name, run.seed) for run in experiment.members] == [("simple", 2)]
    names = set(fingerprints(experiment))
    assert "train simple seed 2" in names
    assert "evaluate simple seed 2" not in names
    (ensemble,) = experiment.ensembles
    roles = [role for role in ensemble.losses.inputs if role.startswith("member")]
    assert roles == ["member 00", "member 01", "member 02"]


def test_what_cannot_be_is_said_with_its_place(build):
    with pytest.raises(RecipeError, match="there is no arm 'nobody'") as error:
        build("ensembles.e={arm: nobody}")
    assert error.value.where == "ensembles.e.arm"
    with pytest.raises(RecipeError, match="cannot be trained: needs 48"):
        build("ensembles.e={arm: real_4x}")
    with pytest.raises(InputError, match="no benchmark data here"):
        build("evaluate.benchmarks=[piqa]", "evaluate.benchmark_data.piqa=TMP/nothing.jsonl")
    with pytest.raises(RecipeError, match="may run code") as error:
        build("evaluate.benchmarks=[mine]", "evaluate.task_folders=[TMP/tasks]")
    assert "--allow-code" in str(error.value.remedy)
    with pytest.raises(RecipeError, match="names no teacher"):
        build(STUDENT)
    with pytest.raises(RecipeError, match="trains on its own samples"):
        build(STUDENT, SAMPLE.replace("real_only", "student"))
    with pytest.raises(RecipeError, match="do not fit the teacher's 64 positions"):
        build(STUDENT, SAMPLE, "generate.sample.max_new_tokens=64")
    with pytest.raises(RecipeError, match="30 samples asked for, 20 are drawn"):
        build("arms.student={stream.ordering: self_distilled, stream.num_generations: 30}", SAMPLE)


def test_the_samples_know_their_teacher(build):
    before = build(STUDENT, SAMPLE)
    (sample,) = before.of_kind("sample")
    assert [step.name for step in sample.inputs.values() if step.kind == "train"] == ["train real_only seed 0"]
    assert sample.config["max_new_tokens"] == 63
    otherwise = build(STUDENT, SAMPLE, "arms.real_only={train.weight_decay: 0.1}")
    assert otherwise.of_kind("sample")[0].fingerprint != sample.fingerprint
    of_two = build(STUDENT, SAMPLE.replace("seeds: [0]", "num_members: 2"))
    assert of_two.of_kind("sample")[0].fingerprint != sample.fingerprint
    more = build(
        "arms.student={stream.ordering: self_distilled, stream.num_generations: 20}", SAMPLE.replace("20", "50")
    )
    assert more.of_kind("sample")[0].fingerprint == sample.fingerprint
    assert sample.fingerprint not in {step.fingerprint for step in build(SAMPLE).steps}


def test_a_student_is_half_real_unless_it_says_otherwise(build):
    fractions = {
        str(run.arm.recipe.mixture.synthetic_fraction)
        for run in build(STUDENT, SAMPLE).runs
        if run.arm.name == "student"
    }
    assert fractions == {"0.5"}
    own = build("arms.student={stream.ordering: self_distilled, mixture.synthetic_fraction: 0.9}", SAMPLE)
    assert str(own.runs[-1].arm.recipe.mixture.synthetic_fraction) == "0.9"


def test_a_resolved_recipe_means_the_same(toy_recipe):
    recipe = load_recipe(toy_recipe, [STUDENT, SAMPLE])
    resolved = Recipe.model_validate(recipe.model_dump(mode="json"))  # as a workspace keeps it
    assert build_arms(resolved)[-1].recipe.mixture == build_arms(recipe)[-1].recipe.mixture


def test_a_stage_brings_what_its_steps_need(build):
    experiment = build(STUDENT, SAMPLE, *PIQA)
    rows = steps_of_stage(experiment, "rows")
    assert {step.name for step in rows if step.kind == "train"} == {"train real_only seed 0"}
    assert {step.kind for step in steps_of_stage(build(), "rows")} == {"corpus", "tokenizer", "generate", "rows"}
    assert "benchmark" in {step.kind for step in steps_of_stage(experiment, "evaluate")}
