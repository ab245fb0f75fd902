"""References within a recipe, and the range of every number: refused when it is loaded, with the key's name."""

import ast
import re
import typing
from pathlib import Path

import annotated_types
import pytest

from megadocs.errors import RecipeError
from megadocs.pipeline.tune.student import with_student
from megadocs.recipe import Recipe, load_recipe
from megadocs.recipe.generation import TaskConfig
from megadocs.recipe.validation import models_in

RECIPE = """
name: small
corpus: {source: texts/, split: {train: 5, validation: 3, test: 3}}
arms:
  real_only: {}
  simple: {stream.ordering: simple, mixture.synthetic_fraction: 0.9}
  alone: {stream.ordering: simple, mixture.separate_real_stream: false, train.synthetic_epochs: 2}
search: {axes: {train.learning_rate: {values: [1e-3, 1e-2]}}}
"""


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    path = tmp_path / "recipe.yaml"
    path.write_text(RECIPE)
    return path


@pytest.mark.parametrize(
    ("override", "where", "word"),
    [
        ("analysis.baseline=reel_only", "analysis.baseline", "real_only"),
        ("ensembles={pair: {arm: simpel, num_members: 2}}", "ensembles.pair.arm", "simple"),
        ("generate.sample={teacher: {arm: nobody}, num_samples: 3}", "generate.sample.teacher.arm", "alone"),
        ("search.arms=[simple, nobody]", "search.arms", "real_only"),
        ("search.axes.train.learning_rate.arms=[nobody]", "search.axes.train.learning_rate.arms", "real_only"),
        ("search.axes={train.learning_rate: {values: [-1, 1e-3]}}", "search.axes.train.learning_rate.values", "out"),
        ("search.axes={train.batch_size: {values: [1, 2.5, 4]}}", "search.axes.train.batch_size.values", "out"),
        ("search.axes={mixture.synthetic_fraction: {values: [0.5, 1.5]}}", "synthetic_fraction.values", "out"),
        ("search.axes={train.learning_rat: {values: [1]}}", "search.axes.train.learning_rat", "learning_rate"),
        ("search.axes={train.dtype: {values: [1]}}", "search.axes.train.dtype", "arm"),
        ("search.axes={train.compile: {values: [1]}}", "search.axes.train.compile", "arm"),
        ("search.start={train.learning_rate: 0}", "search.start.train.learning_rate", "out"),
        ("search.start={train.batch_size: 4}", "search.start", "train.learning_rate"),
        ("evaluate.stride=256", "evaluate.stride", "255"),
        ("arms.simple.stream.datasets=[gone]", "stream.datasets", "none"),
        ("arms.simple.mixture.max_windows={simpel: 4}", "mixture.max_windows", "simple"),
        ("arms.alone.mixture.max_windows={real: 4}", "mixture.max_windows", "simple"),
        ("arms.alone={stream.ordering: simple, mixture.separate_real_stream: false}", "synthetic_epochs", "passes"),
        ("arms.simple={mixture.block_windows: 6, train.batch_size: 4}", "mixture.block_windows", "use 4"),
        ("arms.bare={mixture.synthetic_fraction: 0.5}", "stream.ordering", "ordering"),
        ("arms.simple.train.learning_rate=-3", "train.learning_rate", "train.learning_rate"),
        ("arms.simple.evaluate.stride=3", "arms", "arms"),
        ("arms.simple.train.num_processes=3", "num_processes", "num_processes"),
        ("analysis.num_bootstrap=1e9", "analysis.num_bootstrap", "num_bootstrap"),
        ("train.real_epochs=1e300", "train.real_epochs", "real_epochs"),
    ],
)
def test_a_recipe_that_refers_to_nothing_is_refused_when_it_is_loaded(recipe, override, where, word):
    with pytest.raises(RecipeError) as caught:
        load_recipe(recipe, [override])
    assert where in caught.value.where
    assert word in caught.value.remedy


@pytest.mark.parametrize(
    "override",
    [
        "analysis.baseline=simple",
        "evaluate.stride=255",
        "search.axes={train.learning_rate: {values: [1e-3, 1e-2, 1e30]}}",
        "search.axes={train.batch_size: {values: [1, 2.0, 4]}, mixture.synthetic_fraction: {values: [0.5, 0.9]}}",
        "search.axes={train.micro_batch_size: {values: [1, 2]}}",
        "arms.simple.mixture.max_windows={simple: 3, real: 4}",
        "arms.simple.stream.extra=[{ordering: simple, weight: 1}]",
        "arms={only: {}}",
    ],
)
def test_what_is_there_is_taken(recipe, override):
    assert load_recipe(recipe, [override])


def test_every_batch_of_a_search_divides_the_block(recipe):
    axis = "search.axes={train.batch_size: {values: [4, 8, 16]}}"
    assert load_recipe(recipe, ["mixture.block_windows=32", axis])
    with pytest.raises(RecipeError, match="a block of 24 windows is no multiple of the batch of 16") as caught:
        load_recipe(recipe, ["train.batch_size=4", "mixture.block_windows=24", axis])
    assert caught.value.remedy == "leave it out, or use a multiple of 16"


def test_a_block_is_compared_with_the_batch_that_the_tokens_ask_for(recipe):
    """With `tune` and no batch in the recipe, its default is nobody's batch."""
    written = load_recipe(recipe, ["tune=off", "mixture.block_windows=8"])
    assert with_student(written, 1_000).train.batch_size == 4
    assert with_student(written, 60_000).train.batch_size == 8
    with pytest.raises(RecipeError, match=r"a block of 8 windows is no multiple of the batch of 16 \(arm real_only\)"):
        with_student(written, 600_000)
    with pytest.raises(RecipeError, match="no multiple of the batch of 16"):
        load_recipe(recipe, ["mixture.block_windows=8"])
    with pytest.raises(RecipeError, match="no multiple of the batch of 16"):
        load_recipe(recipe, ["tune=off", "mixture.block_windows=8", "train.batch_size=16"])


def test_an_axis_is_checked_in_every_arm_that_it_applies_to(recipe):
    pretrained = "arms.simple.model.init_from=some/model"
    with pytest.raises(RecipeError, match="init_from decides the shape") as caught:
        load_recipe(recipe, [pretrained, "search.axes={model.hidden_size: {values: [64, 128]}}"])
    assert caught.value.where == "search.axes.model.hidden_size.values"
    load_recipe(recipe, [pretrained, "search.axes={model.hidden_size: {values: [64, 128], arms: [real_only]}}"])
    load_recipe(recipe, [pretrained, "search.axes={model.hidden_size: {values: [64]}}", "search.arms=[real_only]"])


def _numbers(annotation, metadata=()):
    """(type, metadata) of every number that an annotation can hold."""
    if typing.get_origin(annotation) is typing.Annotated:
        inner, *more = typing.get_args(annotation)
        flat = [item for one in more for item in (one.metadata if hasattr(one, "metadata") else [one])]
        yield from _numbers(inner, [*metadata, *flat])
    elif typing.get_origin(annotation) is typing.Literal:
        return
    elif typing.get_args(annotation):
        keeps = typing.get_origin(annotation) not in (list, dict, tuple)
        for part in typing.get_args(annotation):
            yield from _numbers(part, metadata if keeps else ())
    elif annotation in (int, float) or getattr(annotation, "__name__", "") == "Decimal":
        yield annotation, metadata


def test_every_number_of_a_recipe_has_an_upper_bound():
    free_form = {("EngineConfig", "options")}  # an engine's own; it checks them
    unbounded, seen = [], set()

    def walk(model):
        if model in seen:
            return
        seen.add(model)
        for name, field in model.model_fields.items():
            for below in models_in(field.annotation):
                walk(below)
            for kind, metadata in () if models_in(field.annotation) else _numbers(field.annotation, field.metadata):
                has_bound = any(isinstance(item, annotated_types.Le | annotated_types.Lt) for item in metadata)
                if (
                    kind is not int and kind is not float
                ):  # a Decimal: 1e-999999999 is small, and arithmetic on it endless
                    has_bound &= any(getattr(item, "decimal_places", None) for item in metadata)
                if not has_bound and (model.__name__, name) not in free_form:
                    unbounded.append(f"{model.__name__}.{name}")

    walk(Recipe)
    walk(TaskConfig)
    assert unbounded == []
    assert len(seen) > 15


def test_what_only_slow_tests_override_is_accepted(recipe):
    """They run seldom: a bound that came later kept two of them from starting, and nobody saw it."""
    override = re.compile(r"(train|mixture|analysis)\.[a-z_.]+=[^{\[]+")
    slow = [
        path
        for path in Path(__file__).parents[1].rglob("test_*.py")
        if re.search(r"mark\.(slow|faults)", path.read_text("utf-8"))
    ]
    literals = {
        node.value
        for path in slow
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Constant)
    }
    found = sorted(text for text in literals if isinstance(text, str) and override.fullmatch(text))
    assert len(found) > 7
    for text in found:
        try:
            load_recipe(recipe, ["train.batch_size=12", text])
        except RecipeError as error:
            pytest.fail(f"{text}: {error.what}")
