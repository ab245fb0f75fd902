"""`megadocs search` as a user runs it: certificate, reuse, a kill, failures, budgets, two drivers."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import pytest
import yaml

from megadocs.errors import RecipeError
from megadocs.pipeline.steps.experiment import CorpusFacts, build_experiment, corpus_step
from megadocs.pipeline.tune.price import price_search
from megadocs.pipeline.tune.space import build_spaces, trial_steps
from megadocs.recipe import load_recipe
from megadocs.recipe.search import AxisConfig
from megadocs.search import Trial
from pipeline.corpora import write_texts
from pipeline.processes import end_of, wait_until

TOY = {
    "name": "toy_search",
    "corpus": {"split": "auto"},
    "tokenizer": {"kind": "train", "vocab_size": 300},
    "model": {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2},
    "train": {"context_length": 64, "batch_size": 4, "real_epochs": 2, "weight_decay": 0.4},
    "mixture": {"block_windows": 16},
    "arms": {"real_only": {}},
    "seeds": [0, 1],
    "search": {"axes": {"train.real_epochs": {"values": [1, 2, 4]}, "train.learning_rate": {"values": [0.003, 0.01]}}},
}


def write_toy(directory, **sections):
    source = directory / "texts"
    if not source.exists():
        write_texts(source, 30)
    path = directory / "toy.yaml"
    path.write_text(
        yaml.safe_dump({**TOY, **sections, "corpus": {"source": str(source), "split": "auto"}}, sort_keys=False)
    )
    return path


def command(recipe, workspace, *options):
    words = ["search", recipe, "--workspace", workspace, "--jobs", 2, *options]
    return [sys.executable, "-m", "megadocs", *map(str, words)]


def search(recipe, workspace, *options):
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.run(
        command(recipe, workspace, *options), capture_output=True, text=True, check=False, env=environment
    )


def records(workspace):
    return {path.parent.name: path.stat().st_mtime_ns for path in workspace.glob("train/*/record.json")}


def without_costs(result):
    """What must not depend on how often a search was interrupted."""
    arms = [
        {
            "certificate": arm["certificate"],
            "test": arm["test"],
            "trials": [t | {"is_new": 0, "seconds": 0, "held_seconds": 0} for t in arm["trials"]],
        }
        for arm in result["arms"]
    ]
    return json.loads(json.dumps(arms))


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A finished search: recipe, workspace, result. Not to be changed."""
    root = tmp_path_factory.mktemp("search")
    recipe = write_toy(root)
    done = search(recipe, root / "ws", "--json")
    assert done.returncode == 0, done.stderr
    return recipe, root / "ws", json.loads(done.stdout)


def test_a_search_ends_with_a_certificate_and_its_cost(finished):
    _, workspace, result = finished
    (arm,) = result["arms"]
    assert result["ending"] == "finished"
    assert arm["certificate"]["kind"] in ("interior", "edge")
    best = min((t for t in arm["trials"] if t["seed"] == 0), key=lambda t: t["loss"])
    cost = arm["cost"]
    assert cost["num_trials"] == cost["num_new"] == len(arm["trials"]) == len(records(workspace)) - cost["num_wasted"]
    centre = [t for t in arm["trials"] if t["setting"] == arm["certificate"]["setting"]]
    assert {t["seed"] for t in centre} == {0, 1}
    assert arm["test"]["mean"] == pytest.approx(sum(t["test_loss"] for t in centre) / 2)
    assert best["loss"] <= centre[0]["loss"]
    on_disk = json.loads((workspace / "search.json").read_text())
    assert without_costs(on_disk) == without_costs(result)


def test_test_losses_are_shown_at_the_certificate_only(finished):
    _, _, result = finished
    (arm,) = result["arms"]
    certificate = arm["certificate"]
    for trial in arm["trials"]:
        distance = sum(trial["setting"][name] != value for name, value in certificate["setting"].items())
        if distance > 1:
            assert "test_loss" not in trial


def test_a_second_search_trains_nothing(finished):
    recipe, workspace, result = finished
    before = records(workspace)
    again = search(recipe, workspace, "--json")
    assert again.returncode == 0
    second = json.loads(again.stdout)
    assert records(workspace) == before
    assert second["arms"][0]["cost"]["num_new"] == 0
    assert without_costs(second) == without_costs(result)
    assert "at least 0 new runs" in again.stderr


def test_a_plain_run_reuses_what_the_search_trained(finished):
    recipe, _, _ = finished
    loaded = load_recipe(recipe)
    corpus = corpus_step(loaded, "digest")
    (space,) = build_spaces(loaded)
    trial = Trial(space.start, 1)
    needed = trial_steps(loaded, [(space, trial)], corpus, CorpusFacts(20, 1))
    arms = {"by_hand": {"train.real_epochs": 2, "train.learning_rate": 0.003}}
    by_hand = build_experiment(loaded.model_copy(update={"arms": arms, "seeds": [1]}), corpus, CorpusFacts(20, 1))
    assert by_hand.runs[0].evaluate.fingerprint == needed.runs["real_only", trial].evaluate.fingerprint


@pytest.mark.slow
def test_a_killed_search_goes_on_and_ends_the_same(finished, tmp_path):
    recipe, _, result = finished
    workspace = tmp_path / "ws"
    process = subprocess.Popen(
        command(recipe, workspace), stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL, start_new_session=True
    )
    wait_until(lambda: len(records(workspace)) >= 2 or process.poll() is not None, 120)
    process.send_signal(signal.SIGKILL)
    process.wait()
    kept = records(workspace)
    assert 2 <= len(kept) < result["arms"][0]["cost"]["num_trials"]
    time.sleep(1)  # its workers have noticed and let go of their locks
    kept = records(workspace)
    resumed = search(recipe, workspace, "--json")
    assert resumed.returncode == 0, resumed.stderr
    assert kept.items() <= records(workspace).items(), "a finished trial was run again"
    assert without_costs(json.loads(resumed.stdout)) == without_costs(result)


@pytest.mark.slow
def test_a_budget_of_runs_ends_in_good_order_and_shows_no_test_loss(finished, tmp_path):
    recipe, _, _ = finished
    stopped = search(recipe, tmp_path / "ws", "--max-runs", 3, "--json")
    assert stopped.returncode == 0, stopped.stderr
    partial = json.loads(stopped.stdout)
    assert (partial["ending"], partial["arms"][0]["cost"]["num_trials"]) == ("max_runs", 3)
    assert len(records(tmp_path / "ws")) <= 4  # one more may have begun ahead
    assert partial["arms"][0]["certificate"]["kind"] == "incomplete"
    assert partial["arms"][0]["test"] is None
    assert all("test_loss" not in trial for trial in partial["arms"][0]["trials"])


@pytest.mark.slow
def test_trials_that_always_fail_are_listed_and_the_rest_finish(tmp_path):
    axes = {"model.num_attention_heads": {"values": [2, 3]}, "train.learning_rate": {"values": [0.003, 1e30]}}
    recipe = write_toy(tmp_path, search={"axes": axes}, seeds=[0])
    done = search(recipe, tmp_path / "ws", "--json")
    assert done.returncode == 3, done.stderr
    (arm,) = json.loads(done.stdout)["arms"]
    errors = {
        (trial["setting"]["model.num_attention_heads"], trial["setting"]["train.learning_rate"]): trial["error"]
        for trial in arm["trials"]
    }
    assert errors.pop((2, 0.003)) is None
    assert "heads" in errors.pop((3, 0.003))  # no model has this setting
    assert errors.pop((2, 1e30)) is None  # the run diverges: worse than any loss, and no failure
    assert not errors
    assert arm["certificate"]["kind"] == "incomplete"
    assert [line["verdict"] for line in arm["certificate"]["neighbours"] if line["value"]] == ["failed", "diverged"]


@pytest.mark.slow
def test_two_drivers_share_the_work(finished, tmp_path):
    recipe, _, result = finished
    workspace = tmp_path / "ws"
    drivers = [
        subprocess.Popen(
            command(recipe, workspace, "--json"), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        for _ in range(2)
    ]
    results = [json.loads(end_of(driver, 200)[0]) for driver in drivers]
    assert [driver.returncode for driver in drivers] == [0, 0]
    assert without_costs(results[0]) == without_costs(results[1]) == without_costs(result)
    costs = [one["arms"][0]["cost"] for one in results]
    assert (
        costs[0]["num_trials"]
        <= len(records(workspace))
        <= costs[0]["num_trials"] + sum(c["num_wasted"] for c in costs)
    )


def with_epochs(recipe, epochs):
    """The same search with the epochs pinned: every run costs the same, whatever else it has."""
    axes = {**recipe.search.axes, "train.real_epochs": AxisConfig(values=[epochs])}
    return recipe.model_copy(update={"search": recipe.search.model_copy(update={"axes": axes})})


def test_the_price_says_at_least_and_at_most(tmp_path):
    recipe, root = load_recipe(write_toy(tmp_path)), tmp_path / "ws"
    price = price_search(recipe, root)
    assert price.arms == {"real_only": (8, 6, 6)}  # centre and 3 neighbours, 4 repeats
    assert price.least.num_runs == 8
    assert price.most.num_runs == 11  # 6 settings, a star of at most 5 repeated
    pinned = [price_search(with_epochs(recipe, epochs), root).least for epochs in (2, 4)]
    _, four = (least.num_tokens / least.num_runs for least in pinned)
    assert price.most.num_tokens == pytest.approx(11 * four), "every run as expensive as the most expensive one"
    limited = price_search(recipe, root, max_runs=5)
    assert (limited.least.num_runs, limited.most.num_runs) == (5, 5)
    assert limited.most.num_tokens == pytest.approx(5 * four)
    assert 0 < limited.least.num_tokens < limited.most.num_tokens
    assert not root.exists()


def test_a_budget_goes_to_the_most_expensive_arm_at_most(tmp_path):
    axes = {"train.learning_rate": {"values": [0.001, 0.003, 0.01]}}
    arms = {"cheap": {"train.real_epochs": 2}, "dear": {"train.real_epochs": 4}}
    recipe = load_recipe(write_toy(tmp_path, seeds=[0], arms=arms, search={"axes": axes}))
    dear = price_search(recipe, tmp_path / "ws", max_runs=1).most.num_tokens
    most = price_search(recipe, tmp_path / "ws", max_runs=5).most
    assert most.num_tokens == pytest.approx(3 * dear + 2 * dear / 2, rel=0.05)  # three settings each


def test_a_student_is_priced_beside_its_teacher(tmp_path):
    axes = {"train.learning_rate": {"values": [0.001, 0.003]}}
    arms = {"real_only": {}, "student": {"stream.ordering": "self_distilled"}}
    sample = {"teacher": {"arm": "real_only"}, "num_samples": 8}
    toy = {"arms": arms, "seeds": [0], "generate": {"sample": sample}}
    alone = load_recipe(write_toy(tmp_path, **toy, search={"axes": axes, "arms": ["student"]}))
    price = price_search(alone, tmp_path / "ws")
    assert set(price.arms) == {"student"}
    assert price.least.num_runs == 2, "the teacher is no run of the search"
    assert price.shared_seconds > price_search(load_recipe(write_toy(tmp_path)), tmp_path / "ws").shared_seconds


def test_arms_that_share_settings_are_each_priced(tmp_path):
    arms = {"one": {}, "fast": {"train.learning_rate": 0.003}}
    prices = [
        price_search(load_recipe(write_toy(tmp_path, arms=chosen)), tmp_path / "ws", num_slots=2)
        for chosen in (arms, {"one": {}}, {"fast": arms["fast"]})
    ]
    assert prices[0].least.num_tokens == prices[1].least.num_tokens + prices[2].least.num_tokens > 0


def test_a_start_that_cannot_be_run_is_priced_at_its_neighbours(tmp_path):
    axes = {"model.hidden_size": {"values": [16, 17, 19]}}
    recipe = load_recipe(write_toy(tmp_path, search={"axes": axes, "start": {"model.hidden_size": 19}}))
    assert price_search(recipe, tmp_path / "ws", num_slots=2).most.num_tokens > 0
    none = load_recipe(write_toy(tmp_path, search={"axes": {"model.hidden_size": {"values": [17, 19]}}}))
    assert price_search(none, tmp_path / "ws", num_slots=2).most.num_tokens == 0


def test_axes_apply_where_they_mean_something(tmp_path):
    axes = {"mixture.synthetic_fraction": {"values": [0.5, 0.75]}, "train.weight_decay": {"values": [0.1, 0.4]}}
    arms = {"real_only": {}, "simple": {"stream.ordering": "simple", "mixture.synthetic_fraction": 0.7}}
    spaces = build_spaces(load_recipe(write_toy(tmp_path, search={"axes": axes}, arms=arms)))
    assert [[axis.name for axis in space.grid.axes] for space in spaces] == [
        ["train.weight_decay"],
        ["mixture.synthetic_fraction", "train.weight_decay"],
    ]
    assert spaces[1].grid.setting(spaces[1].start) == {"mixture.synthetic_fraction": 0.75, "train.weight_decay": 0.4}


def test_compute_matched_arms_train_on_the_same_windows(tmp_path):
    axes = {"mixture.synthetic_fraction": {"values": [0.5, 0.75]}, "train.weight_decay": {"values": [0.1, 0.4]}}
    arms = {
        "real_only": {},
        "real_2x": {"mixture.real_multiple": 2},
        "simple": {"stream.ordering": "simple", "mixture.synthetic_fraction": 0.75},
    }
    recipe = write_toy(tmp_path, search={"axes": axes, "compute_matched_epochs": 8}, arms=arms)
    epochs = [space.overrides_at(space.start)["train.real_epochs"] for space in build_spaces(load_recipe(recipe))]
    assert epochs == [8, 4, 2]


@pytest.mark.slow
def test_compute_matched_runs_train_on_the_same_tokens(tmp_path):
    arms = {
        "real_only": {},
        "real_2x": {"mixture.real_multiple": 2},
        "half": {"stream.ordering": "simple", "mixture.synthetic_fraction": 0.5},
        "most": {"stream.ordering": "simple", "mixture.synthetic_fraction": 0.75},
    }
    axes = {"train.weight_decay": {"values": [0.4]}}
    generate = {"engine": {"kind": "fake", "model": "fake"}, "rephrase": {"num_generations": 2, "max_new_tokens": 60}}
    section = {"axes": axes, "compute_matched_epochs": 8}
    recipe = write_toy(tmp_path, search=section, arms=arms, seeds=[0], generate=generate)
    priced = search(recipe, tmp_path / "ws", "--dry-run", "--json")
    assert priced.stderr.count("matched compute: every run of") == 4
    done = search(recipe, tmp_path / "ws", "--json")
    assert done.returncode == 0, done.stderr
    tokens = {arm["arm"]: arm["trials"][0]["num_tokens"] for arm in json.loads(done.stdout)["arms"]}
    assert tokens["real_only"] == tokens["half"] == tokens["most"] == tokens["real_2x"]
    epochs = {arm["arm"]: arm["matched_epochs"] for arm in json.loads(done.stdout)["arms"]}
    assert [epochs[name] for name in ("real_only", "half", "most")] == [8, 4, 2]
    assert epochs["real_2x"] == pytest.approx(4, rel=0.1)  # twice the documents are not twice the tokens


@pytest.mark.parametrize(
    "section, where",
    [
        ({"axes": {"train.learning_rat": {"values": [1]}}}, "search.axes.train.learning_rat"),
        ({"axes": {"train.dtype": {"values": [1]}}}, "search.axes.train.dtype"),
        ({"axes": {"train.synthetic_epochs": {"values": [1, 2]}}}, "search.start.train.synthetic_epochs"),
        ({"axes": {"train.eps": {"values": [1]}}, "arms": ["nobody"]}, "search.arms"),
        (
            {"axes": {"train.real_epochs": {"values": [1]}}, "compute_matched_epochs": 4},
            "search.axes.train.real_epochs",
        ),
    ],
)
def test_what_cannot_be_searched_is_named(tmp_path, section, where):
    with pytest.raises(RecipeError) as caught:
        build_spaces(load_recipe(write_toy(tmp_path, search=section)))
    assert caught.value.where == where


def test_corpus_may_not_be_searched(tmp_path):
    with pytest.raises(RecipeError):
        load_recipe(write_toy(tmp_path, search={"axes": {"corpus.split": {"values": [1]}}}))


def test_a_recipe_without_a_search_has_no_price(tmp_path):
    recipe = load_recipe(write_toy(tmp_path)).model_copy(update={"search": None})
    with pytest.raises(RecipeError, match="no section `search`"):
        price_search(recipe, tmp_path / "ws")
