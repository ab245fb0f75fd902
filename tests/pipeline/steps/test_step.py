"""What a step is: fingerprints of 0.1 stay, operational fields change nothing, and work published with one is found."""

from __future__ import annotations

import json

import pytest

from megadocs.pipeline.steps.experiment import CorpusFacts, build_experiment, corpus_step
from megadocs.pipeline.steps.step import Step, find_artifact, job_of
from megadocs.recipe import Recipe, TrainConfig
from megadocs.store.artifact import Workspace

RECIPE = {
    "name": "fixed",
    "corpus": {"source": "texts", "split": "auto"},
    "generate": {
        "engine": {"kind": "fake", "model": "fake"},
        "rephrase": {"num_generations": 2, "max_new_tokens": 60},
        "thought": {"num_generations": 2, "max_new_tokens": 40},
        "sample": {"teacher": {"arm": "real_only", "num_members": 2}, "num_samples": 12},
    },
    "tokenizer": {"kind": "train", "vocab_size": 300},
    "model": {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2},
    "train": {"context_length": 64, "batch_size": 4, "real_epochs": 2, "dtype": "bfloat16"},
    "arms": {
        "real_only": {},
        "simple": {"stream.ordering": "simple", "mixture.synthetic_fraction": 0.75},
        "stitched": {"stream.ordering": "stitched", "mixture.synthetic_fraction": 0.75},
        "latent_thoughts": {"stream.ordering": "latent_thoughts", "mixture.synthetic_fraction": 0.75},
        "student": {"stream.ordering": "self_distilled"},
    },
    "ensembles": {"pair": {"arm": "real_only", "num_members": 2}},
    "evaluate": {"stride": 16},
    "seeds": [0],
}
#: As version 0.1 computed them, but for training and scoring (training's version 2: layers as one function; 3: heads
#: rotated as complex numbers, which moves scores by rounding, too), tasks that cut documents (between characters as a
#: reader sees them) and what depends on either: whoever changes one makes every workspace do that work again, and
#: raises STEP_VERSIONS.
OF_0_1 = {
    "corpus": "e5ed076dc721ca59bf84",
    "tokenizer": "df5f2c6e7d04ab709601",
    "generate rephrase G=2": "012d23429f13fe3dfd05",
    "generate thought G=2": "2db18ef3cf212c5ffa0a",
    "rows real": "a58adeb73c26cedcbd3c",
    "train real_only seed 0": "56b9dea2545a8b22bd21",
    "train real_only seed 1": "16ccc622904998e1f1f3",
    "sample real_only N=12": "797d890c6c5efca1222a",
    "evaluate real_only seed 0": "84219c7b6d9660509d12",
    "rows rephrase G=2": "8e2cac954a65b71a151f",
    "train simple seed 0": "9494a757994a683782aa",
    "evaluate simple seed 0": "0a71ad48219b8d694d06",
    "train stitched seed 0": "6309422e9f7d378fffba",
    "evaluate stitched seed 0": "051742185c51a5d71405",
    "rows latent_thoughts G=2": "ff52169a9ce89c637660",
    "train latent_thoughts seed 0": "b3254b9d14135d4d64da",
    "evaluate latent_thoughts seed 0": "a6c72a82ae47a7d15119",
    "rows self_distilled N=12": "dda4e7f8837be4a62896",
    "train student seed 0": "bc50b773a1dd54a692f3",
    "evaluate student seed 0": "fbd7a0d01d7bc3b5e10b",
    "ensemble pair": "f4ce623035dfd1b81e35",
}


def build(**train):
    recipe = Recipe.model_validate(RECIPE | {"train": RECIPE["train"] | train})
    return build_experiment(recipe, corpus_step(recipe, "d0"), CorpusFacts(12, 4))


def prints(experiment):
    """Of the steps that 0.1 knew; it had no gate."""
    return {step.name: step.fingerprint for step in experiment.steps if step.kind != "gate"}


def test_fingerprints_are_those_of_0_1():
    assert prints(build()) == OF_0_1


@pytest.mark.parametrize(
    "field",
    [
        {"device": "cuda"},
        {"micro_batch_size": 2},
        {"compile": True},
        {"deterministic": True},
        {"evaluate_every_steps": 3},
        {"num_processes": 2},
        {"parallel": "fsdp"},
        {"trackers": ["tensorboard"]},
        {"checkpoint_minutes": 1},
        {"keep_checkpoints": 5},
        {"log_every_steps": 7},
        {"rank_timeout_seconds": 5},
    ],
)
def test_how_a_run_is_done_is_not_what_it_is(field):
    assert set(field) <= set(TrainConfig.operational_fields())
    assert prints(build(**field)) == OF_0_1


def test_every_operational_field_of_training_is_tried_above():
    tried = {
        name for mark in test_how_a_run_is_done_is_not_what_it_is.pytestmark for field in mark.args[1] for name in field
    }
    assert tried == set(TrainConfig.operational_fields())


def test_the_record_says_how_it_was_done():
    step = next(step for step in build(device="cpu").steps if step.kind == "train")
    assert step.config["train"]["device"] == "cpu"
    assert "device" not in step.identity["train"]
    json.dumps(job_of(step))


@pytest.mark.parametrize(("dtype", "is_found"), [("auto", True), ("float32", False)])
def test_a_run_of_0_1_serves_a_machine_that_would_train_in_float32(monkeypatch, dtype, is_found):
    monkeypatch.setattr("megadocs.machine.has_fast_bfloat16", lambda device: False)
    train = build(dtype=dtype).runs[0].train
    assert train.config["train"]["dtype"] == "float32"
    assert train.fingerprint != OF_0_1["train real_only seed 0"]
    assert (OF_0_1["train real_only seed 0"] in train.fingerprints) == is_found


def publish(step: Step, workspace: Workspace, fingerprint: str) -> None:
    with workspace.build(step.kind, fingerprint, config={}, inputs={}) as build:
        (build.path / "content").write_text(step.name)


def test_work_that_0_1_published_under_a_device_is_found(tmp_path):
    workspace, plain, moved = Workspace(tmp_path), build(), build(device="cpu")
    run = moved.runs[0]
    assert len(run.train.fingerprints) == len(run.evaluate.fingerprints) == 2
    assert run.train.fingerprint == run.train.fingerprints[0] == plain.runs[0].train.fingerprint
    publish(run.train, workspace, run.train.fingerprints[1])
    found = find_artifact(run.train, workspace)
    assert found is not None and found.fingerprint == run.train.fingerprints[1]
    assert find_artifact(run.evaluate, workspace) is None
    publish(run.evaluate, workspace, run.evaluate.fingerprints[1])  # it was made of the run under its former name
    assert find_artifact(run.evaluate, workspace) is not None


def test_the_present_fingerprint_is_looked_for_first(tmp_path):
    workspace, step = Workspace(tmp_path), build(device="cpu").runs[0].train
    for fingerprint in step.fingerprints:
        publish(step, workspace, fingerprint)
    found = find_artifact(step, workspace)
    assert found is not None and found.fingerprint == step.fingerprint
