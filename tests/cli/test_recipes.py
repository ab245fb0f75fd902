"""The recipes of the package from the command line."""

import json

import pytest
from typer.testing import CliRunner

from megadocs.cli import build_app
from megadocs.errors import InputError
from megadocs.recipe import load_recipe, shipped_names


def call(*arguments):
    return CliRunner().invoke(build_app(["recipes"]), ["recipes", *arguments], catch_exceptions=True)


def test_list_names_every_recipe_with_its_purpose():
    described = json.loads(call("list", "--json").stdout)
    assert sorted(described) == shipped_names()
    assert all(described.values())


@pytest.mark.parametrize("name", shipped_names())
def test_a_copy_loads_as_the_original(name, tmp_path):
    target = tmp_path / "new" / "mine.yaml"
    target.parent.mkdir()
    assert call("copy", name, "--output", str(target)).exit_code == 0
    assert load_recipe(target) == load_recipe(name)


def test_nothing_is_replaced(tmp_path):
    target = tmp_path / "mine.yaml"
    target.write_text("name: mine\n", encoding="utf-8")
    refused = call("copy", "quickstart", "--output", str(target))
    assert isinstance(refused.exception, InputError)
    assert target.read_text(encoding="utf-8") == "name: mine\n"
    assert isinstance(call("copy", "nothing").exception, InputError)
