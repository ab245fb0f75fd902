"""What `megadocs watch` sees of a workspace before, during and after a run."""

from __future__ import annotations

import json

import pytest

import megadocs
from megadocs.errors import DamagedError, InputError
from megadocs.pipeline.watch import Watcher
from megadocs.store.artifact import Workspace
from megadocs.store.lock import hold_lock
from megadocs.text.tokenizer import train_tokenizer
from pipeline.corpora import WORDS, write_recipe, write_texts


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("toy")
    train_tokenizer([" ".join(WORDS)], 300).save(folder / "tokenizer.json")
    path = write_recipe(folder / "toy.yaml", write_texts(folder / "texts", 40), folder / "tokenizer.json")
    recipe = megadocs.load_recipe(path, {"train.log_every_steps": 1})
    return megadocs.run(recipe, folder / "workspace", progress=False).path


def test_a_finished_run_has_every_arm_with_its_curve(finished):
    view = Watcher(finished).look()
    assert view.has_report
    assert {run.state for run in view.runs} == {"done"}
    assert all(run.steps == run.num_steps and run.training_loss > 0 for run in view.runs)
    assert {curve.arm for curve in view.curves} == {run.arm for run in view.runs} == {row["arm"] for row in view.arms}
    assert {task.task: task.done for task in view.generations} == {
        task.task: task.requested for task in view.generations
    }
    assert "nothing runs here now" in view.state


def test_a_run_in_progress_is_seen_with_the_steps_it_has_logged(finished):
    watcher = Watcher(finished)
    workspace = Workspace(finished)
    artifact = next(artifact for artifact in workspace.artifacts() if artifact.step == "train")
    partial = workspace.partial("train", artifact.fingerprint)
    artifact.path.rename(partial)
    metrics = partial / "metrics.jsonl"
    whole = metrics.read_bytes()
    try:
        first = whole.splitlines(keepends=True)[0]
        metrics.write_bytes(first + b'{"step": 2, "lo')  # torn: its writer is at it
        with hold_lock(finished / "locks" / f"train-{artifact.fingerprint}.lock", purpose="a test"):
            view = watcher.look()
        (run,) = [run for run in view.runs if run.state == "running"]
        assert run.steps == json.loads(first)["step"] < run.num_steps
        assert view.state.startswith("running")
        assert [run.state for run in watcher.look().runs].count("interrupted") == 1
    finally:
        metrics.write_bytes(whole)
        partial.rename(artifact.path)


def test_a_training_of_no_recipe_is_shown_as_a_trial(finished):
    workspace = Workspace(finished)
    folder = workspace.partial("train", "f" * 20)
    folder.mkdir()
    identity = {"num_steps": 9, "seed": 3, "train": {"batch_size": 2, "context_length": 8}}
    (folder / "run.json").write_text(json.dumps(identity))
    (folder / "metrics.jsonl").write_text('{"step": 1, "loss": 5.5, "tokens_per_second": 10.0}\n')
    try:
        with hold_lock(finished / "locks" / f"train-{'f' * 20}.lock", purpose="a test"):
            run = Watcher(finished).look().runs[0]
        assert (run.arm, run.seed, run.steps, run.num_steps) == ("trial ffffff", 3, 1, 9)
    finally:
        for file in folder.iterdir():
            file.unlink()
        folder.rmdir()


def test_what_is_no_workspace_or_of_another_version_is_one_message(tmp_path, finished):
    with pytest.raises(InputError, match="no workspace there"):
        Watcher(tmp_path / "nowhere")
    with pytest.raises(InputError, match="no workspace there"):
        Watcher(tmp_path)
    newer = tmp_path / "newer"
    newer.mkdir()
    recipe = json.loads((finished / "recipe.json").read_text())
    (newer / "recipe.json").write_text(json.dumps(recipe | {"a_section_of_tomorrow": {}}))
    with pytest.raises(DamagedError, match="another version"):
        Watcher(newer)
