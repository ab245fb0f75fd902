"""Identities: what changes them, what must not, and that they are the same for ever."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from megadocs.documents import Document
from megadocs.errors import InputError, RecipeError
from megadocs.generate import plan_requests
from megadocs.recipe import GenerateConfig

Documents = Callable[..., list[Document]]
Config = Callable[..., GenerateConfig]


def identities(config: GenerateConfig, documents: list[Document], task: str = "rephrase") -> set[str]:
    return {request.identity for request in plan_requests(config, task, documents)}  # type: ignore[arg-type]


def test_golden_identities(config: Config) -> None:
    requests = plan_requests(config(), "rephrase", [Document("a", "one two three four")])
    assert [request.identity for request in requests] == GOLDEN_REPHRASE
    requests = plan_requests(config(), "thought", [Document("a", "one two three four")])
    assert [(request.identity[:8], request.split_character) for request in requests] == GOLDEN_THOUGHT
    assert requests[0].seed(0) != requests[0].seed(1)
    assert 0 <= requests[0].seed(0) < 2**31


def test_position_never_matters(config: Config, documents: Documents) -> None:
    corpus = documents(20)
    shuffled = random.Random(1).sample(corpus, 20)
    for task in ("rephrase", "thought"):
        assert identities(config(), corpus, task) == identities(config(), shuffled, task)
        assert identities(config(), corpus[5:10], task) < identities(config(), corpus, task)


def test_rephrases_nest_in_g_and_thoughts_do_not(config: Config, documents: Documents) -> None:
    two, four = config(), config(rephrase={"num_generations": 4, "max_new_tokens": 64})
    assert identities(two, documents(3)) < identities(four, documents(3))
    three, five = config(), config(thought={"num_generations": 5, "max_new_tokens": 32})
    assert not identities(three, documents(3), "thought") & identities(five, documents(3), "thought")


@pytest.mark.parametrize(
    "changes",
    [
        {"temperature": 0.5},
        {"top_p": 0.9},
        {"language": "Finnish"},
        {"seed": 1},
        {"rephrase": {"num_generations": 2, "max_new_tokens": 65}},
        {"rephrase": {"num_generations": 2, "max_new_tokens": 64, "style": "wikipedia_english"}},
        {"engine": {"model": "fake-2"}},
        {"engine": {"revision": "r2"}},
        {"engine": {"api": "completions"}},
    ],
)
def test_what_the_text_depends_on_changes_every_identity(
    config: Config, documents: Documents, changes: dict[str, object]
) -> None:
    assert not identities(config(), documents(3)) & identities(config(**changes), documents(3))


@pytest.mark.parametrize(
    "changes",
    [
        {"engine": {"concurrency": 9}},
        {"engine": {"num_servers": 2}},
        {"options": {"faults": "503:0.5"}},
        {"max_attempts": 9},
        {"attempt_timeout_seconds": 1},
        {"gates": {"echo": "reject"}},
        {"limits": {"max_requests": 3}},
        {"thought": None},
        {"engine": {"context_tokens": 4096}},
    ],
)
def test_what_it_does_not_depend_on_changes_none(
    config: Config, documents: Documents, changes: dict[str, object]
) -> None:
    assert identities(config(), documents(3)) == identities(config(**changes), documents(3))


def test_text_and_id_of_the_document_count(config: Config) -> None:
    sets = [
        identities(config(), [document])
        for document in (Document("a", "x y"), Document("a", "x z"), Document("b", "x y"))
    ]
    assert len(set.union(*sets)) == 6


def test_messages_show_prefix_and_suffix_of_the_split(config: Config, documents: Documents) -> None:
    (document,) = documents(1)
    for request in plan_requests(config(), "thought", [document]):
        assert request.split_character is not None
        content = request.messages()[-1]["content"]
        assert f'"""\n{document.text[: request.split_character].strip()}\n"""' in content
        assert f'"""\n{document.text[request.split_character :].strip()}\n"""' in content
    ends = [request.split_character for request in plan_requests(config(), "thought", [document])]
    assert ends == sorted(set(ends))
    assert len(ends) == 3


def test_a_short_document_gets_fewer_thoughts(config: Config) -> None:
    assert len(plan_requests(config(), "thought", [Document("a", "one two three")])) == 2


def test_diverse_styles_take_turns(config: Config, documents: Documents) -> None:
    styles = ["wikipedia", "wikipedia_english"]
    diverse = config(rephrase={"num_generations": 5, "max_new_tokens": 64, "diverse_styles": styles})
    names = [request.template.style.name for request in plan_requests(diverse, "rephrase", documents(1))]
    assert names == [*styles, *styles, "wikipedia"]
    same = config(rephrase={"num_generations": 1, "max_new_tokens": 64})
    assert identities(same, documents(1)) < identities(diverse, documents(1))


def test_wrong_requests_are_refused(config: Config, documents: Documents) -> None:
    with pytest.raises(InputError, match="one id"):
        plan_requests(config(), "rephrase", [*documents(2), *documents(1)])
    with pytest.raises(RecipeError, match="asks for no thought"):
        plan_requests(config(thought=None), "thought", documents(1))
    with pytest.raises(RecipeError, match="equal"):
        plan_requests(config(temperature=0), "rephrase", documents(1))
    with pytest.raises(RecipeError, match="split points"):
        plan_requests(config(engine={"kind": "openai"}), "thought", documents(1))
    with pytest.raises(RecipeError, match="no room"):
        plan_requests(config(engine={"context_tokens": 100}), "rephrase", documents(1))


GOLDEN_REPHRASE = ["2059758778c5dc4edfbf21acb7211aa2", "d8a03ca718708f838fb6e81c306c9852"]
GOLDEN_THOUGHT = [("774eea71", 3), ("3556be35", 7), ("90395cb4", 13)]
