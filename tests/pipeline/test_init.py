"""The recipe that `megadocs init` writes: the shipped one with the person's source, loadable and never overwritten."""

import pytest

from megadocs.errors import InputError, UsageError
from megadocs.pipeline.init import write_own_recipe
from megadocs.recipe import load_recipe
from pipeline.corpora import write_texts


def test_the_recipe_names_the_source_and_the_experiment(tmp_path):
    texts = write_texts(tmp_path / "my texts: \\1 é", 3)
    written = write_own_recipe(tmp_path / "mine", str(texts))
    path, num_records = written.path, written.num_records
    recipe = load_recipe(path)
    assert num_records == 3
    assert recipe.corpus.source == str(texts)
    assert recipe.name == "mine"
    assert recipe.tune == "auto"
    assert "my_texts" not in path.read_text(encoding="utf-8")
    assert "# The control that could kill the claim" in path.read_text(encoding="utf-8")


def test_a_recipe_that_is_there_stays(tmp_path):
    texts = str(write_texts(tmp_path / "texts", 2))
    path = write_own_recipe(tmp_path / "mine", texts).path
    path.write_text("name: edited", encoding="utf-8")
    with pytest.raises(UsageError, match="there is a recipe already"):
        write_own_recipe(tmp_path / "mine", texts)
    assert path.read_text(encoding="utf-8") == "name: edited"


def test_nothing_is_written_for_a_source_that_is_not_there(tmp_path):
    with pytest.raises(InputError):
        write_own_recipe(tmp_path / "mine", str(tmp_path / "absent"))
    assert not (tmp_path / "mine").exists()


@pytest.fixture(scope="module")
def many_texts(tmp_path_factory):
    return str(write_texts(tmp_path_factory.mktemp("many") / "texts", 600))


@pytest.mark.parametrize("hours", [0.5, 200])
def test_the_recipe_of_a_budget_says_what_was_chosen(many_texts, tmp_path, hours):
    written = write_own_recipe(tmp_path / "mine", many_texts, budget_seconds=hours * 3600)
    text, choice = written.path.read_text(encoding="utf-8"), written.choice
    recipe = load_recipe(written.path)
    assert choice.seconds <= hours * 3600
    settings = recipe.model_dump()
    for key, value in choice.overrides.items():
        here = settings
        for name in key.split("."):
            here = here[name]
        assert here == value, key
    for reason in choice.reasons.values():
        assert reason in text
    assert ("latent_thoughts" in recipe.arms) == choice.has_thoughts == (recipe.generate.thought is not None)
    assert ("two latent thoughts" in recipe.description) == choice.has_thoughts
    assert "shuffled_words" in recipe.arms
