"""The price of generation: prompts as they are sent, what of them is in the cache, and the time that reading takes."""

import pytest

from megadocs.generate import run_generation
from megadocs.pipeline.price.corpus_sizes import measure_corpus
from megadocs.pipeline.price.generation import count_prompts, generation_seconds
from megadocs.pipeline.price.plan import build_plan
from megadocs.recipe import load_recipe
from megadocs.store.artifact import Workspace


@pytest.fixture
def recipe(toy_recipe):
    return load_recipe(toy_recipe)


@pytest.mark.parametrize("task", ["rephrase", "thought"])
def test_the_plan_counts_the_prompt_tokens_that_the_engine_counts(recipe, tmp_path, task):
    documents = measure_corpus(recipe, Workspace(tmp_path / "ws")).documents.train_multiple(1)
    books = run_generation(recipe.generate, task, documents, tmp_path / "ledger", lambda _: None, lambda: False)
    line = next(line for line in build_plan(recipe, tmp_path / "ws").lines if line.name.startswith(f"generate {task}"))
    assert line.num_requests == books.requested == books.num_sent
    assert line.num_prompt_tokens == books.prompt_tokens


def test_thoughts_share_less_of_their_prompts_than_rephrases(recipe, tmp_path):
    documents = measure_corpus(recipe, Workspace(tmp_path / "ws")).documents.train_multiple(1)
    config = recipe.generate
    rephrase = count_prompts(config, "rephrase", documents, 0.0)
    thought = count_prompts(config, "thought", documents, 0.0)
    number = config.rephrase.num_generations
    assert rephrase.cached_tokens == pytest.approx(rephrase.tokens * (number - 1) / number)
    # Of G thoughts, thought i finds the text up to split i - 1: less than half of all that is read.
    assert 0 < thought.cached_tokens < 0.5 * thought.tokens


@pytest.mark.parametrize("num_thoughts", [1, 2, 4])
def test_documents_that_are_not_here_are_priced_alike(recipe, num_thoughts, tmp_path):
    thought = recipe.generate.thought.model_copy(update={"num_generations": num_thoughts})
    config = recipe.generate.model_copy(update={"thought": thought})
    documents = measure_corpus(recipe, Workspace(tmp_path / "ws")).documents.train_multiple(1)
    mean = sum(len(document.text.split()) for document in documents) / len(documents)
    assumed, counted = count_prompts(config, "thought", None, mean), count_prompts(config, "thought", documents, 0.0)
    assert assumed.tokens == pytest.approx(counted.tokens, rel=0.35)  # punctuation, the wording of the prompt
    assert assumed.cached_tokens <= counted.tokens * (num_thoughts - 1) / num_thoughts
    assert (assumed.cached_tokens == 0) == (num_thoughts == 1)


def test_reading_takes_time_where_nothing_was_measured(recipe):
    def seconds(num_read, measured=None):
        return generation_seconds(recipe, recipe.generate, num_read, 1000.0, measured)

    assert seconds(3000.0) > seconds(0.0) > 0
    assert seconds(3000.0) == pytest.approx((1000 + 3000 / 15) / 20_000)  # 15 are read while one is written
    assert seconds(3000.0, 50.0) == 20.0
    assert generation_seconds(recipe, recipe.generate, 0.0, 0.0, 50.0) == 0.0
