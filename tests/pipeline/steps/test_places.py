"""What a recipe names outside itself: paths that lead nowhere are refused at once, names of the hub are said."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from megadocs.errors import InputError
from megadocs.pipeline.price.plan import build_plan, student_shape
from megadocs.pipeline.run import run_experiment
from megadocs.pipeline.steps.places import check_places, fetch_named, unseen_names
from megadocs.pipeline.tune.driver import run_search
from megadocs.pipeline.tune.price import price_search
from megadocs.recipe import Recipe, load_recipe
from megadocs.recipe.paths import is_path
from megadocs.text.tokenizer import train_tokenizer
from pipeline.corpora import write_recipe, write_texts

STUDENT = {"hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 3, "num_attention_heads": 2}


@pytest.fixture
def toy(tmp_path: Path, split_tokenizer: Path):
    """Loads the toy recipe with overrides and, in place of its own student, a pretrained one where one is named."""
    texts = write_texts(tmp_path / "texts", 40)
    path = write_recipe(tmp_path / "toy.yaml", texts, split_tokenizer)

    def load(*overrides: str) -> Recipe:
        text = path.read_text(encoding="utf-8")
        if any("model.init_from" in override for override in overrides):
            text = "\n".join(line for line in text.splitlines() if not line.startswith("model:")) + "\nmodel: {}\n"
        own = tmp_path / "own.yaml"
        own.write_text(text, encoding="utf-8")
        return load_recipe(own, overrides)

    return load


@pytest.fixture
def student(tmp_path: Path) -> Path:
    """A folder with the shape of a model, and a tokenizer."""
    folder = tmp_path / "student"
    train_tokenizer(["some words of a text"] * 3, 260).save(folder)
    shape = {"model_type": "llama", "vocab_size": 260, "max_position_embeddings": 64, "rms_norm_eps": 1e-5}
    config = {**shape, **STUDENT, "num_key_value_heads": 2, "architectures": ["LlamaForCausalLM"]}
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    return folder


@pytest.fixture
def no_hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """No network and an empty cache."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


#: (override of the toy recipe, key in the message)
MISSING = [
    ("model.init_from=./no/model", "model.init_from"),
    ("model.init_from=~/no_such_model", "model.init_from"),
    ("model.init_from=runs/deep/model", "model.init_from"),
    ("tokenizer={kind: load, source: ./no/tokenizer}", "tokenizer.source"),
    ("tokenizer={kind: load, source: no/tokenizer.json}", "tokenizer.source"),
    ("generate.split_tokenizer=./no/tokenizer", "generate.split_tokenizer"),
    ("generate.engine={kind: embedded, model: ./no/model}", "generate.engine.model"),
    ("generate.engine={kind: llamacpp, model: no/model.gguf}", "generate.engine.model"),
    ("generate.rephrase.style=./no/prompt.md", "generate.rephrase.style"),
    ("generate.rephrase.diverse_styles=[wikipedia, no/prompt.md]", "generate.rephrase.style"),
    ("generate.thought.style=no/prompt.md", "generate.thought.style"),
]


@pytest.mark.parametrize(("override", "key"), MISSING)
def test_a_path_that_leads_nowhere_is_refused(toy, override: str, key: str) -> None:
    with pytest.raises(InputError, match=r"nothing is at \S+") as caught:
        check_places(toy(override))
    assert caught.value.where == key
    assert caught.value.remedy is not None and caught.value.remedy.endswith(f"{key}=PATH")


@pytest.mark.parametrize(("override", "key"), [MISSING[0], MISSING[3], MISSING[6], MISSING[9]])
def test_a_plan_and_a_run_refuse_it_before_anything_is_written(toy, tmp_path: Path, override: str, key: str) -> None:
    root = tmp_path / "workspace"
    for begin in (build_plan, run_experiment):
        with pytest.raises(InputError, match="nothing is at") as caught:
            begin(toy(override), root)
        assert caught.value.where == key
    assert not list(root.glob("*/*/record.json")) and not (root / "ledger").exists()


def test_a_search_refuses_it_too(toy, tmp_path: Path) -> None:
    axes = "search={axes: {train.learning_rate: {values: [0.001, 0.003]}}, arms: [simple]}"
    for begin in (price_search, run_search):
        with pytest.raises(InputError, match=r"nothing is at \./no/model"):
            begin(toy(axes, "model.init_from=./no/model"), tmp_path / "workspace")
    assert not list((tmp_path / "workspace").glob("*/*/record.json"))


def test_all_of_them_are_in_one_message(toy) -> None:
    overrides = ("model.init_from=./no/model", "tokenizer={kind: load, source: ./no/model}", MISSING[9][0])
    with pytest.raises(InputError) as caught:
        check_places(toy(*overrides))
    assert caught.value.what.startswith("nothing is at ./no/model or at ")
    assert caught.value.where == "tokenizer.source, model.init_from, generate.rephrase.style"


def test_an_arm_with_a_student_of_its_own_is_named(toy) -> None:
    recipe = toy("arms.simple={model.init_from: ./no/model, stream.ordering: simple, mixture.synthetic_fraction: 0.5}")
    with pytest.raises(InputError) as caught:
        check_places(recipe)
    assert caught.value.where == "arms.simple: model.init_from"


def test_only_what_is_done_with_the_recipe_counts(toy, student: Path) -> None:
    recipe = toy("model.init_from=./no/model", "generate.rephrase.style=./no/prompt.md")
    with pytest.raises(InputError) as caught:
        check_places(recipe, {"generate"})  # generating needs no student
    assert caught.value.where == "generate.rephrase.style"
    with pytest.raises(InputError) as caught:
        check_places(recipe, {"train"})
    assert caught.value.where == "model.init_from"
    check_places(recipe, set())


def test_text_is_written_before_the_student_is_there(toy, tmp_path: Path) -> None:
    """The warm student of recipes/order.yaml takes longer to train than its text to write."""
    recipe = toy("model.init_from=./no/model", "tokenizer={kind: load, source: ./no/model}")
    outcome = run_experiment(recipe, tmp_path / "workspace", stage="generate")
    assert outcome.errors == []
    assert len(list((tmp_path / "workspace" / "generate").glob("*/record.json"))) == 2
    complete = run_experiment(toy(), tmp_path / "workspace", stage="generate")  # another tokenizer, the same text
    states = [state.status for one in complete.outcomes for state in one.states if state.step.kind == "generate"]
    assert states == ["reused", "reused"]


def test_a_programs_model_may_lie_where_the_program_runs(toy) -> None:
    check_places(toy("generate.engine={kind: vllm, model: /models/in/a/container}"))


def test_what_is_there_passes(toy, student: Path) -> None:
    recipe = toy(f"model.init_from={student}", f"tokenizer={{kind: load, source: {student}}}")
    check_places(recipe)
    assert unseen_names(recipe) == ()
    assert unseen_names(toy()) == ()


def test_the_folder_decides_the_price(toy, tmp_path: Path, student: Path, no_hub: Path) -> None:
    """Thirty times too high was the price of a folder that was not there, without a word."""
    here = toy(f"model.init_from={student}", f"tokenizer={{kind: load, source: {student}}}")
    assert student_shape(here).num_hidden_layers == 3
    assert build_plan(here, tmp_path / "workspace").notes == ()
    gone = toy("model.init_from=runs/model", "tokenizer={kind: load, source: runs/model}")
    plan = build_plan(gone, tmp_path / "workspace")
    assert plan.notes == (
        "model.init_from, tokenizer.source: there is no folder runs/model here, and nothing of that name is in the "
        "hub's cache. If it is a folder, make or copy it first; if it is a name on the hub, `megadocs run` fetches "
        "it. Prices assume a student of the preset tiny, and may be far off",
    )
    assert plan.flops > 10 * build_plan(here, tmp_path / "workspace").flops
    assert plan.to_json()["notes"] == plan.notes


def test_a_model_of_the_hubs_cache_decides_it_too(toy, student: Path, no_hub: Path) -> None:
    snapshot = no_hub / "models--some--model" / "snapshots" / "abc"
    snapshot.mkdir(parents=True)
    (no_hub / "models--some--model" / "refs").mkdir()
    (no_hub / "models--some--model" / "refs" / "main").write_text("abc", encoding="utf-8")
    (snapshot / "config.json").write_bytes((student / "config.json").read_bytes())
    recipe = toy("model.init_from=some/model", f"tokenizer={{kind: load, source: {student}}}")
    assert student_shape(recipe).hidden_size == 64
    assert unseen_names(recipe) == ()


def test_an_unknown_tokenizer_says_which_vocabulary_is_assumed(toy, no_hub: Path) -> None:
    (note,) = unseen_names(toy("tokenizer={kind: load, source: some/tokenizer}"))
    assert note.startswith("tokenizer.source: there is no folder some/tokenizer here")
    assert note.endswith("Prices assume a vocabulary of 128,256")


def test_a_run_asks_the_hub_before_it_generates(toy, tmp_path: Path, no_hub: Path) -> None:
    root = tmp_path / "workspace"
    with pytest.raises(InputError, match="no folder of this name is here, and the hub did not give"):
        run_experiment(toy("model.init_from=runs/model"), root)
    with pytest.raises(InputError, match="neither in the cache nor reachable"):
        run_experiment(toy("tokenizer={kind: load, source: some/tokenizer}"), root)
    assert not (root / "ledger").exists() and not list(root.glob("generate/*"))


def test_the_hub_is_not_asked_where_nothing_is_named() -> None:
    def build():
        raise AssertionError("no experiment is needed to see that")

    recipe = Recipe.model_validate({"name": "bare", "corpus": {"source": "x"}})
    fetch_named(recipe, build, None)


@pytest.mark.parametrize("text", ["./a", "/a", "~/a", "../a", "a/b/c", "a.gguf", "b/c.json", "tokenizer.model", "a b"])
def test_paths(text: str) -> None:
    assert is_path(text)


@pytest.mark.parametrize("text", ["gpt2", "org/name", "runs/order_model", "meta-llama/Llama-3.1-8B", "a/b.c-d_e"])
def test_names_that_may_be_of_the_hub(text: str) -> None:
    assert not is_path(text)
