"""Recipes: loading, overrides, arms, and errors that name the dotted key and the nearest key."""

import itertools
from decimal import Decimal
from pathlib import Path

import pytest
import yaml

from megadocs.errors import RecipeError
from megadocs.recipe import Recipe, build_arms, fingerprint, load_recipe
from megadocs.recipe.validation import models_in

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
    ("override", "what", "key"),
    [
        ("train.learning_rate=-1", "greater than 0", "train.learning_rate"),
        ("train.learning_rate=.nan", "finite number", "train.learning_rate"),
        ("mixture.synthetic_fraction=1.5", "less than or equal to 1", "mixture.synthetic_fraction"),
        ("seeds=[]", "at least 1 item", "seeds"),
        ("seeds=[1,1]", "distinct", "seeds"),
        ("name=../up", "a name is 1-80 letters", "name"),
        ("corpus.split={train: 3}", "a value is missing", "corpus.split.validation"),
        ("arms.bad={corpus.seed: 3}", "may not override 'corpus.seed'", "arms"),
        ("train.batch_size=[", "not valid YAML", "train.batch_size"),
    ],
)
def test_bad_values_are_refused(recipe_path, override, what, key):
    with pytest.raises(RecipeError, match=what) as caught:
        load_recipe(recipe_path, [override])
    assert caught.value.where.removeprefix(f"{recipe_path}: ") == key


def test_what_is_no_override_is_refused(recipe_path):
    with pytest.raises(RecipeError, match="not an override: 'nonsense'"):
        load_recipe(recipe_path, ["nonsense"])


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"", "a mapping of sections"),
        (b"- a\n", "a mapping of sections"),
        (b"a: [", "not valid YAML"),
        (b"\xff\xfe", "not UTF-8"),
        (b"name: x\n", "a value is missing"),
    ],
)
def test_bad_files_are_refused(tmp_path, content, what):
    path = tmp_path / "bad.yaml"
    path.write_bytes(content)
    with pytest.raises(RecipeError, match=what) as caught:
        load_recipe(path)
    assert caught.value.where.startswith(str(path))
    with pytest.raises(RecipeError, match="no such recipe"):
        load_recipe(tmp_path / "absent.yaml")


ODD = (None, 3, -1, 1.5, True, "x", [], ["x"], [1], {}, {"a": 1}, {"a": {"b": 1}}, [[1]], [{}], 10**30, "", {"": 1})


def odd_recipes():
    """(label, recipe) with one odd value: in every section, in every field, in arms of every form."""
    base = yaml.safe_load(RECIPE)
    for section, info in Recipe.model_fields.items():
        for value in ODD:
            yield f"{section}={value}", base | {section: value}
        for model in models_in(info.annotation):
            for field, value in itertools.product(model.model_fields, ODD):
                yield f"{section}.{field}={value}", base | {section: (base.get(section) or {}) | {field: value}}
    overridden = ["stream", "mixture", "model", "train", "stream.ordering", "stream.extra", "stream.extra.x"]
    overridden += [
        "mixture.synthetic_fraction",
        "mixture.max_windows",
        "mixture.separate_real_stream",
        "train.trackers",
    ]
    for value in ODD:
        yield f"arms.a={value}", base | {"arms": {"a": value}}
        yield f"ensembles.a={value}", base | {"ensembles": {"a": value}}
        yield f"axes={value}", base | {"search": {"axes": {"train.learning_rate": value}}}
        yield from ((f"arms.a.{key}={value}", base | {"arms": {"a": {key: value}}}) for key in overridden)


def test_a_value_of_the_wrong_type_anywhere_is_refused_by_key(tmp_path):
    path = tmp_path / "odd.yaml"
    refusals = {}
    num_accepted = 0
    for label, data in odd_recipes():
        path.write_text(yaml.safe_dump(data))
        try:
            load_recipe(path)
            num_accepted += 1
        except RecipeError as error:  # anything else would be a bug
            refusals[label] = error
    assert [label for label, error in refusals.items() if not error.where or "pydantic" in str(error)] == []
    assert len(refusals) > 1500
    assert num_accepted > 100


def test_an_arm_may_set_a_whole_section(recipe_path):
    real, other = (
        "stream: {ordering: self_distilled}",
        "stream.ordering: self_distilled, mixture: {synthetic_fraction: 0}",
    )
    arms = f"{{a: {{{real}}}, b: {{{other}}}}}"
    first, second = build_arms(load_recipe(recipe_path, [f"arms={arms}"]))
    assert (first.recipe.stream.ordering, first.recipe.mixture.synthetic_fraction) == ("self_distilled", Decimal("0.5"))
    assert second.recipe.mixture.synthetic_fraction == 0


def test_yaml_cannot_construct_objects(tmp_path):
    path = tmp_path / "evil.yaml"
    path.write_text("name: !!python/object/apply:os.system ['true']\n")
    with pytest.raises(RecipeError, match="is a tag, and recipes have none"):
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
