import pytest

import megadocs
from megadocs.text.tokenizer import train_tokenizer
from pipeline.corpora import WORDS, write_recipe, write_texts


@pytest.fixture(scope="session")
def toy_recipe(tmp_path_factory):
    """The file of a recipe over forty made-up documents, with the fake engine."""
    folder = tmp_path_factory.mktemp("toy")
    train_tokenizer([" ".join(WORDS)], 300).save(folder / "tokenizer.json")
    return write_recipe(folder / "toy.yaml", write_texts(folder / "texts", 40), folder / "tokenizer.json")


@pytest.fixture(scope="session")
def finished(toy_recipe, tmp_path_factory):
    """A workspace whose report is there."""
    return megadocs.run(megadocs.load_recipe(toy_recipe), tmp_path_factory.mktemp("workspace"), progress=False)
