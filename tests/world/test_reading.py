"""Texts of the world are read back: the same spans, the same facts, through prompts too."""

from __future__ import annotations

import math

import pytest

from megadocs.errors import InputError
from megadocs.seeding import derive_seed
from megadocs.world import Draws, iter_world, parse_world, read_facts, read_spans, rephrase, thought
from megadocs.world.facts import draw_facts
from megadocs.world.language import (
    ATTRIBUTES,
    DOCUMENT_LEADS,
    HOP_LEADS,
    LEAD_WORDS,
    OPENING,
    REPHRASE_LEADS,
    SECOND_OPENING,
    SYLLABLES,
    table_entry,
)
from megadocs.world.rendering import document_spans, joined

SOURCES = (
    "world://documents=20",
    "world://documents=20,seed=1,facts=1,mentions=1,name_length=1,syllables=2",
    "world://documents=20,seed=2,hops=0,mentions=1",
    "world://documents=20,seed=3,hops=2,mentions=2,syllables=16,name_length=1",
)


@pytest.mark.parametrize("source", SOURCES)
def test_spans_read_from_a_text_are_those_it_was_made_of(source: str) -> None:
    world = parse_world(source)
    for number, (_, text) in enumerate(iter_world(world)):
        draws = Draws(derive_seed(world.seed, "world", number))
        facts = draw_facts(world, draws)
        made = document_spans(world, facts, draws)
        assert joined(made) == text
        assert [(s.token_class, s.nats) for s in read_spans(world, text)] == [(s.token_class, s.nats) for s in made]
        assert read_facts(f"Rewrite this.\n{text}\nThank you.").facts == facts


@pytest.mark.parametrize("source", SOURCES)
def test_a_document_s_probability_is_that_of_its_choices(source: str) -> None:
    """Counted by hand: names, the orders of the attributes, a lead for each sentence."""
    world = parse_world(source)
    names = (1 + world.facts) * world.name_length * math.log(world.syllables)
    order = math.lgamma(world.facts + 1)
    rounds = world.mentions * (order + world.facts * math.log(len(DOCUMENT_LEADS)))
    expected = names + rounds + (0.0 if world.hops is None else order)
    for _, text in iter_world(world):
        assert sum(span.nats for span in read_spans(world, text)) == pytest.approx(expected, rel=1e-12)


def test_more_documents_add_documents_and_change_none() -> None:
    assert (
        list(iter_world(parse_world("world://documents=5"))) == list(iter_world(parse_world("world://documents=9")))[:5]
    )


def test_words_cannot_be_taken_for_each_other() -> None:
    """No word of the language is a syllable; no lead is another's beginning: what makes the entropy exact."""
    leads = [*DOCUMENT_LEADS, *HOP_LEADS]
    assert all(len(lead.split()) == LEAD_WORDS for lead in leads)
    assert len(set(leads)) == len(leads)
    words = {word for text in (*leads, *ATTRIBUTES, *REPHRASE_LEADS, OPENING, SECOND_OPENING) for word in text.split()}
    assert not words & set(SYLLABLES)
    assert len(set(SYLLABLES)) == len(SYLLABLES)


@pytest.mark.parametrize("syllables", [2, 16, 64])
def test_the_table_is_a_latin_square(syllables: int) -> None:
    every = set(range(syllables))
    for index in every:
        assert {table_entry(index, other, syllables) for other in every} == every
        assert {table_entry(other, index, syllables) for other in every} == every


def test_rephrases_and_thoughts_state_what_is_so() -> None:
    world = parse_world("world://documents=5,hops=2,mentions=1,syllables=16,name_length=1")
    for _, text in iter_world(world):
        found = read_facts(text)
        found.check_derived(16)
        stated = rephrase(found.facts, Draws(1))
        for name, value in found.facts.values.items():
            assert f"{name} {SYLLABLES[value[0]]} ;" in stated
        clauses = rephrase(found.facts, Draws(1), 3).split(" ; ")
        assert len({clause.removesuffix(" ;").split()[-2] for clause in clauses}) == 3  # three facts, each once
        steps = thought(found.facts, 2, 16, Draws(2))
        for name, value in found.derived.items():
            (step,) = [part for part in steps.split(" ; ") if part.startswith(name)]
            assert step.removesuffix(" ;").endswith(f"gives {SYLLABLES[value[0]]}")


def test_a_foreign_text_is_refused() -> None:
    with pytest.raises(InputError, match="tells no facts"):
        read_facts("The house of the family stood in Rome.")
    world = parse_world("world://documents=1")
    ((_, text),) = iter_world(world)
    others = ["world://documents=1,syllables=2", "world://documents=1,name_length=1", "world://documents=1,facts=1"]
    for other in others:
        with pytest.raises(InputError, match=f"no document of {parse_world(other).source}"):
            read_spans(parse_world(other), text)
    for changed in (text + " and more", text.lower(), text.replace(" .", "."), "Qa " + text):
        with pytest.raises(InputError, match="no document of world://"):
            read_spans(world, changed)


@pytest.mark.parametrize("name", ["Qx", "Ba Qx", "BaDo", "B", "ba", "Ba Do Qx", "É"])
def test_a_name_is_made_of_the_languages_syllables(name: str) -> None:
    """Sentences about other names are not the world's: they are passed over, as the words around them are."""
    with pytest.raises(InputError, match="tells no facts"):
        read_facts(f"record of {name} . the home {name} .")
    found = read_facts(f"record of Ba . the home Do . the trade {name} .")
    assert found.facts.values == {"home": (SYLLABLES.index("Do"),)}


@pytest.mark.parametrize("syllables", [2, 8, 15])
def test_a_thought_in_too_small_a_world_is_refused(syllables: int) -> None:
    """Names have syllables that the options do not know: an error that names the option."""
    ((_, text),) = iter_world(parse_world("world://documents=1,hops=1,mentions=1,syllables=64,name_length=2"))
    with pytest.raises(InputError, match=f"in a world of {syllables} syllables") as caught:
        read_facts(text).check_derived(syllables)
    assert caught.value.where == "generate.engine.options.syllables"


@pytest.mark.parametrize(
    "text",
    [
        "record of Ba . the home Do . so trade Ba .",  # derived from a fact that is not told
        "record of Ba . the home Do . so home Ba Do .",  # names of different lengths
        "record of Ba . the home Do Ba . the trade Ba . so home Ba .",
    ],
)
def test_what_cannot_be_derived_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="does not follow"):
        read_facts(text).check_derived(16)


def test_a_document_that_derives_nothing_is_refused() -> None:
    with pytest.raises(InputError, match="derives none"):
        read_facts("record of Ba . the home Do .").check_derived(16)
