import pytest

from megadocs.text.tokenizer import train_tokenizer
from pipeline.corpora import WORDS, write_recipe, write_texts


@pytest.fixture(scope="session")
def split_tokenizer(tmp_path_factory):
    """A tokenizer.json for the split points of the fake generator."""
    path = tmp_path_factory.mktemp("generator") / "tokenizer.json"
    train_tokenizer([" ".join(WORDS)], 300).save(path)
    return path


@pytest.fixture
def toy_recipe(tmp_path, split_tokenizer):
    """Forty made-up documents and the recipe on them."""
    return write_recipe(tmp_path / "toy.yaml", write_texts(tmp_path / "texts", 40), split_tokenizer)
