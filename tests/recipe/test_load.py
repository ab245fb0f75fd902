"""Recipes: loading, overrides, arms, and errors that name the dotted key and the nearest key."""

from decimal import Decimal
from pathlib import Path

import pytest

from megadocs.errors import RecipeError
from megadocs.recipe import build_arms, fingerprint, load_recipe

RECIPE = """
name: small
corpus: {source: texts/, split: {train: 5, validation: 3, test: 3}}
tokenizer: {kind: train, vocab_size: 300}
arms:
  real_only: {}
  simple: {stream.ordering: simple, mixture.synthetic_fraction: 0.9, train.weight_decay: 0.4}
seeds: [0, 1]
"""


@pytest.fixture
def recipe_path(tmp_path):
    path = tmp_path / "small.yaml"
    path.write_text(RECIPE)
    return path


def test_arms_are_the_recipe_with_overrides(recipe_path):
    real_only, simple = build_arms(load_recipe(recipe_path))
    assert real_only.recipe.stream.ordering is None
    assert simple.recipe.stream.ordering == "simple"
    assert simple.recipe.train.weight_decay == 0.4
    assert simple.recipe.mixture.synthetic_fraction == Decimal("0.9")  # nine tenths, not the float beside it


def test_overrides_are_yaml_values(recipe_path):
    recipe = load_recipe(recipe_path, ["corpus.split=auto", "seeds=[3]", "arms.simple.train.real_epochs=2"])
    assert recipe.corpus.split == "auto"
    assert recipe.seeds == [3]
    assert build_arms(recipe)[1].recipe.train.real_epochs == 2


def test_a_recipe_with_arms_of_its_own_drops_what_names_its_parents(tmp_path):
    (tmp_path / "parent.yaml").write_text(f"{RECIPE}ensembles: {{pair: {{arm: real_only}}}}\n")
    child = tmp_path / "child.yaml"
    child.write_text("extends: parent.yaml\nname: child\narms: {other: {}}\n")
    recipe = load_recipe(child)
    assert (list(recipe.arms), recipe.ensembles) == (["other"], {})


def test_extends_goes_one_level(recipe_path, tmp_path):
    child = tmp_path / "child.yaml"
    child.write_text("extends: small.yaml\nname: child\ntrain: {real_epochs: 3}\n")
    recipe = load_recipe(child)
    assert (recipe.name, recipe.train.real_epochs, recipe.seeds) == ("child", 3, [0, 1])
    grandchild = tmp_path / "grandchild.yaml"
    grandchild.write_text("extends: child.yaml\nname: grandchild\n")
    with pytest.raises(RecipeError, match="one level"):
        load_recipe(grandchild)


@pytest.mark.parametrize(
    ("override", "key", "remedy"),
    [
        ("trian.real_epochs=1", "trian", "train"),
        ("train.weight_decai=1", "train.weight_decai", "weight_decay"),
        ("corpus.split.trian=3", "corpus.split.trian", "train"),
        ("tokenizer.vocab_sise=300", "tokenizer.vocab_sise", "vocab_size"),
        ("generate.engine.knd=fake", "generate.engine.knd", "kind"),
        ("arms.simple.train.weight_decai=1", "train.weight_decai", "weight_decay"),
    ],
)
def test_unknown_key_names_the_nearest(recipe_path, override, key, remedy):
    with pytest.raises(RecipeError) as caught:
        build_arms(load_recipe(recipe_path, [override]))
    assert caught.value.where.endswith(f": {key}")
    assert f"'{remedy}'" in caught.value.remedy


@pytest.mark.parametrize(
    "override",
    [
        "train.learning_rate=-1",
        "train.learning_rate=.nan",
        "mixture.synthetic_fraction=1.5",
        "seeds=[]",
        "seeds=[1,1]",
        "name=../up",
        "corpus.split={train: 3}",
        "arms.bad={corpus.seed: 3}",
        "train.batch_size=[",
        "nonsense",
    ],
)
def test_bad_values_are_refused(recipe_path, override):
    with pytest.raises(RecipeError):
        load_recipe(recipe_path, [override])


@pytest.mark.parametrize("content", [b"", b"- a\n", b"a: [", b"\xff\xfe", b"name: x\n"])
def test_bad_files_are_refused(tmp_path, content):
    path = tmp_path / "bad.yaml"
    path.write_bytes(content)
    with pytest.raises(RecipeError):
        load_recipe(path)
    with pytest.raises(RecipeError, match="no such recipe"):
        load_recipe(tmp_path / "absent.yaml")


def test_yaml_cannot_construct_objects(tmp_path):
    path = tmp_path / "evil.yaml"
    path.write_text("name: !!python/object/apply:os.system ['true']\n")
    with pytest.raises(RecipeError):
        load_recipe(path)


def test_fingerprint_ignores_key_order_and_sees_values(recipe_path):
    assert fingerprint({"a": 1, "b": Decimal("0.50")}) == fingerprint({"b": Decimal("0.5"), "a": 1})
    assert fingerprint(load_recipe(recipe_path)) != fingerprint(load_recipe(recipe_path, ["train.real_epochs=3"]))


def test_a_key_of_another_kind_is_not_called_unknown():
    recipe = Path(__file__).parents[2] / "recipes" / "quickstart.yaml"
    with pytest.raises(RecipeError, match="does not go with the section"):
        load_recipe(recipe, ["tokenizer.kind=load", "tokenizer.source=folder"])


def test_apples_gpu_is_refused_with_the_device_to_take(recipe_path):
    with pytest.raises(RecipeError) as caught:
        load_recipe(recipe_path, ["train.device=mps"])
    assert "use train.device=cpu" in caught.value.what
    assert caught.value.where.endswith("train.device")
