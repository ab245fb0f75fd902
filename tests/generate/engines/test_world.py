"""The world engine: from prompts to texts that state the document's facts, through the ordinary ledger."""

from __future__ import annotations

import asyncio

import pytest

from megadocs.documents import Document
from megadocs.errors import EngineError, RecipeError
from megadocs.generate import build_engine, plan_requests, run_generation
from megadocs.generate.engines.protocol import Completion, Reply
from megadocs.recipe import GenerateConfig
from megadocs.world import iter_world, parse_world, read_facts
from megadocs.world.facts import spelled

WORLD = parse_world("world://documents=4,hops=1,mentions=1,syllables=16,name_length=1")
DOCUMENTS = [Document(name, text) for name, text in iter_world(WORLD)]


def config(**options) -> GenerateConfig:
    engine = {"kind": "world", "options": {"syllables": 16, **options}}
    tasks = {"rephrase": {"num_generations": 3}, "thought": {"num_generations": 1}}
    return GenerateConfig.model_validate({"engine": engine, **tasks})


def replies(settings: GenerateConfig, task: str) -> list[str]:
    engine = build_engine(settings.engine)
    texts = []
    for request in plan_requests(settings, task, DOCUMENTS):
        completion = Completion(request.messages(), 512, 1.0, 1.0, request.seed(0), 10.0, {})
        reply = asyncio.run(engine.complete(completion))
        assert isinstance(reply, Reply)
        assert reply.new_tokens == len(reply.text.split())
        texts.append(reply.text)
    return texts


def test_rephrases_state_every_fact_and_differ() -> None:
    texts = replies(config(), "rephrase")
    assert texts == replies(config(), "rephrase")
    for number, document in enumerate(DOCUMENTS):
        own = texts[3 * number : 3 * number + 3]
        assert len(set(own)) == 3
        for name, value in read_facts(document.text).facts.values.items():
            assert all(f"{name} {spelled(value)} ;" in text for text in own)
    assert all(text.count(";") == 6 for text in replies(config(facts=6), "rephrase"))


def test_thoughts_state_the_steps_of_their_document_or_of_none() -> None:
    right, wrong = replies(config(), "thought"), replies(config(wrong_thoughts=True), "thought")
    for document, told, invented in zip(DOCUMENTS, right, wrong, strict=True):
        found = read_facts(document.text)
        for name, value in found.facts.values.items():
            assert f"{name} {spelled(value)} with" in told
            assert f"gives {spelled(found.derived[name])} ;" in told
        assert sorted(word for word in told.split() if word.islower()) == sorted(
            word for word in invented.split() if word.islower()
        )
        assert told != invented


def test_the_split_point_stands_between_the_two_parts() -> None:
    requests = plan_requests(config(), "thought", DOCUMENTS)
    assert len(requests) == len(DOCUMENTS)
    for request in requests:
        assert request.document.text[request.split_character :].strip().startswith("now about")


def test_through_the_ledger(tmp_path) -> None:
    books = run_generation(config(), "rephrase", DOCUMENTS, tmp_path / "ledger", lambda progress: None, lambda: False)
    assert (books.requested, books.ok) == (12, 12)


def test_a_document_of_no_world_stops_the_run_with_one_message(tmp_path) -> None:
    documents = [Document("d", "An ordinary passage about a house.")]
    with pytest.raises(EngineError, match=r"corpus\.source=world://"):
        run_generation(config(), "rephrase", documents, tmp_path / "ledger", lambda progress: None, lambda: False)


@pytest.mark.parametrize("options", [{"speed": 3}, {"facts": 0}, {"facts": "six"}, {"syllables": True}])
def test_options_that_cannot_be_are_refused(options) -> None:
    with pytest.raises(RecipeError, match="options"):
        build_engine(config(**options).engine)


@pytest.mark.parametrize(("options", "named"), [({"facts": 9}, "a document tells 8"), ({"syllables": 32}, "syllables")])
def test_options_that_do_not_fit_the_documents(options, named) -> None:
    settings = config(**options)
    engine = build_engine(settings.engine)
    request = plan_requests(settings, "rephrase" if "facts" in options else "thought", DOCUMENTS)[0]
    with pytest.raises(EngineError, match=named):
        asyncio.run(engine.complete(Completion(request.messages(), 512, 1.0, 1.0, 1, 10.0, {})))
