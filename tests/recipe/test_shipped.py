"""Every shipped recipe parses, and so does each of its arms; every field is described."""

from pathlib import Path

import pytest
from pydantic import BaseModel

from megadocs.recipe import Recipe, build_arms, load_recipe
from megadocs.recipe.validation import models_in

RECIPES = sorted((Path(__file__).parents[2] / "recipes").rglob("*.yaml"))


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_recipe_and_arms_parse(path):
    assert build_arms(load_recipe(path))


def test_there_are_recipes():
    assert any(path.stem == "quickstart" for path in RECIPES)


def test_every_field_has_a_description():
    def walk(model: type[BaseModel]):
        for name, field in model.model_fields.items():
            if name != "kind":
                assert field.description, f"{model.__name__}.{name}"
            for below in models_in(field.annotation):
                walk(below)

    walk(Recipe)
