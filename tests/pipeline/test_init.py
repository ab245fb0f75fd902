"""The recipe that `megadocs init` writes: the shipped one with the person's source, loadable and never overwritten."""

import pytest

from megadocs.errors import InputError, UsageError
from megadocs.pipeline.init import write_own_recipe
from megadocs.recipe import load_recipe
from pipeline.corpora import write_texts


def test_the_recipe_names_the_source_and_the_experiment(tmp_path):
    texts = write_texts(tmp_path / "my texts: \\1 é", 3)
    path, num_records = write_own_recipe(tmp_path / "mine", str(texts))
    recipe = load_recipe(path)
    assert num_records == 3
    assert recipe.corpus.source == str(texts)
    assert recipe.name == "mine"
    assert recipe.tune == "auto"
    assert "my_texts" not in path.read_text(encoding="utf-8")
    assert "# The control that could kill the claim" in path.read_text(encoding="utf-8")


def test_a_recipe_that_is_there_stays(tmp_path):
    texts = str(write_texts(tmp_path / "texts", 2))
    path, _ = write_own_recipe(tmp_path / "mine", texts)
    path.write_text("name: edited", encoding="utf-8")
    with pytest.raises(UsageError, match="there is a recipe already"):
        write_own_recipe(tmp_path / "mine", texts)
    assert path.read_text(encoding="utf-8") == "name: edited"


def test_nothing_is_written_for_a_source_that_is_not_there(tmp_path):
    with pytest.raises(InputError):
        write_own_recipe(tmp_path / "mine", str(tmp_path / "absent"))
    assert not (tmp_path / "mine").exists()
