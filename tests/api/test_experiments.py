"""Recipes, plans and runs from Python behave as on the command line."""

import threading
from pathlib import Path

import pytest

import megadocs
from megadocs.errors import ConsentError, InputError, RecipeError


def test_recipes_of_the_package_load_by_name():
    names = megadocs.recipe_names()
    assert {"quickstart", "small", "paper/order"} <= set(names)
    for name in names:
        assert megadocs.load_recipe(name).arms, name


def test_mappings_and_strings_set_the_same(toy_recipe):
    by_mapping = megadocs.load_recipe(
        toy_recipe, {"train.learning_rate": 0.5, "seeds": [3], "corpus.source": Path("x")}
    )
    by_strings = megadocs.load_recipe(toy_recipe, ["train.learning_rate=0.5", "seeds=[3]", "corpus.source=x"])
    assert by_mapping == by_strings


@pytest.mark.parametrize(
    "overrides", [{"train.learning_rat": 1}, {"train.learning_rate": object()}, "seeds=[1]", ["seeds"]]
)
def test_wrong_overrides_are_named(toy_recipe, overrides):
    with pytest.raises(RecipeError):
        megadocs.load_recipe(toy_recipe, overrides)


def test_unknown_recipe_says_where_names_are():
    with pytest.raises(RecipeError, match="megadocs recipes list"):
        megadocs.load_recipe("quickstrat")


def test_plan_starts_nothing(toy_recipe, tmp_path):
    found = megadocs.plan(megadocs.load_recipe(toy_recipe), tmp_path / "new")
    assert found.seconds > 0
    assert not (tmp_path / "new").exists()


def test_a_finished_run_is_reused_and_opened(finished):
    again = megadocs.run(finished.recipe, finished.path, progress=False)
    assert again.results.data == finished.results.data
    opened = megadocs.open_workspace(finished.path)
    assert opened.recipe == finished.recipe
    assert opened.arms == finished.arms == [arm for arm in finished.recipe.arms if arm != "real_4x"]  # 40 documents
    assert megadocs.plan(opened.recipe, opened.path).seconds == 0
    assert (opened.model("simple") / "model.safetensors").is_file()
    assert len(opened.documents("test")) == opened.results.data["sets"][0]["num_documents"]


def test_runs_work_outside_the_main_thread(toy_recipe, tmp_path):
    """Some notebooks run cells in threads, where Python installs no signal handlers."""
    found = []
    recipe = megadocs.load_recipe(toy_recipe)
    thread = threading.Thread(
        target=lambda: found.append(megadocs.run(recipe, tmp_path, until="corpus", progress=False))
    )
    thread.start()
    thread.join()
    assert len(found[0].documents("test")) > 0


def test_what_is_not_there_yet_says_what_makes_it(toy_recipe, tmp_path):
    recipe = megadocs.load_recipe(toy_recipe)
    with pytest.raises(InputError, match="no stage"):
        megadocs.run(recipe, tmp_path, until="everything")
    early = megadocs.run(recipe, tmp_path, until="corpus", progress=False)
    with pytest.raises(InputError, match="rows of arm simple are not there yet"):
        early.streams("simple")
    with pytest.raises(InputError, match="not trained yet"):
        early.model("simple")
    with pytest.raises(InputError, match="no results there"):
        early.results  # noqa: B018


def test_consent_is_asked_for_as_on_the_command_line(toy_recipe, tmp_path):
    text = toy_recipe.read_text(encoding="utf-8").replace("kind: fake, model: fake", "kind: openai, model: x")
    own = tmp_path / "remote.yaml"
    own.write_text(
        text.replace("concurrency: 8", "concurrency: 8, base_url: 'https://far.example/v1'"), encoding="utf-8"
    )
    with pytest.raises(ConsentError):
        megadocs.run(megadocs.load_recipe(own), tmp_path / "w", progress=False)


def test_a_failure_is_raised_with_its_remedy(toy_recipe, tmp_path):
    recipe = megadocs.load_recipe(toy_recipe, {"corpus.source": str(tmp_path / "nowhere")})
    with pytest.raises(InputError, match="to do:"):
        megadocs.run(recipe, tmp_path / "w", progress=False)
