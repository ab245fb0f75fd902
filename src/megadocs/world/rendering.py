"""From facts to text: documents in pieces of known probability, rephrases, thoughts.

A document is a list of `Span`s. The sum of their nats is exactly minus the logarithm of the document's probability
under the generator, whatever tokenizer is used: that is the floor, below which no predictor's expected loss can be.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from megadocs.world.draws import Draws
from megadocs.world.facts import Facts, derived_chain, derived_fact, spelled
from megadocs.world.language import DOCUMENT_LEADS, HOP_LEADS, OPENING, REPHRASE_LEADS, SECOND_OPENING
from megadocs.world.parameters import WorldParameters

TokenClass = Literal["template", "first_mention", "later_mention", "derived"]
TOKEN_CLASSES: Sequence[TokenClass] = ("template", "first_mention", "later_mention", "derived")


#: Raised when rephrases or thoughts of the same facts and seed change.
RENDERING_VERSION = 1


@dataclass(frozen=True, slots=True)
class Span:
    """A run of words of one class."""

    text: str  # words and single spaces, without blanks around
    #: template (leads, attributes, stops, openings), first_mention and later_mention (names), derived.
    token_class: TokenClass
    nats: float  # minus the logarithm of its probability given everything before it


def joined(spans: Sequence[Span]) -> str:
    """The text of a document."""
    return " ".join(span.text for span in spans)


def document_spans(world: WorldParameters, facts: Facts, draws: Draws) -> list[Span]:
    """A document: its opening, `mentions` rounds of all facts, and its second part where facts are derived.

    In each round the attributes come in an order, and each with a lead, drawn uniformly.
    """
    new = world.name_length * math.log(world.syllables)
    spans = [Span(OPENING, "template", 0.0), Span(spelled(facts.subject), "first_mention", new)]
    spans.append(Span(".", "template", 0.0))
    for mention in range(world.mentions):
        left = len(facts.values)
        for attribute in draws.shuffled(list(facts.values)):
            lead = draws.one_of(DOCUMENT_LEADS)
            spans.append(Span(f"{lead} {attribute}", "template", math.log(left * len(DOCUMENT_LEADS))))
            value = spelled(facts.values[attribute])
            spans.append(Span(value, "later_mention", 0.0) if mention else Span(value, "first_mention", new))
            spans.append(Span(".", "template", 0.0))
            left -= 1
    return spans + (_second_part(world, facts, draws) if world.hops is not None else [])


def _second_part(world: WorldParameters, facts: Facts, draws: Draws) -> list[Span]:
    assert world.hops is not None
    spans = [Span(SECOND_OPENING, "template", 0.0), Span(spelled(facts.subject), "later_mention", 0.0)]
    spans.append(Span(".", "template", 0.0))
    left = len(facts.values)
    for attribute in draws.shuffled(list(facts.values)):
        value = derived_fact(facts, attribute, world.hops, world.syllables)
        spans.append(Span(f"{HOP_LEADS[world.hops]} {attribute}", "template", math.log(left)))
        spans.append(Span(spelled(value), "derived", 0.0))
        spans.append(Span(".", "template", 0.0))
        left -= 1
    return spans


def rephrase(facts: Facts, draws: Draws, num_facts: int | None = None) -> str:
    """The subject and `num_facts` of its facts (None: all), each once, in an order and with leads drawn uniformly."""
    attributes = list(draws.shuffled(list(facts.values)))[:num_facts]
    clauses = [f"{draws.one_of(REPHRASE_LEADS)} {name} {spelled(facts.values[name])} ;" for name in attributes]
    return " ".join([f"{spelled(facts.subject)} :", *clauses])


def thought(facts: Facts, hops: int, syllables: int, draws: Draws) -> str:
    """The steps between the facts and what follows from them, attribute by attribute in an order drawn uniformly."""
    return " ".join(_steps(facts, hops, syllables, draws))


def _steps(facts: Facts, hops: int, syllables: int, draws: Draws) -> Iterator[str]:
    for attribute in draws.shuffled(list(facts.values)):
        told = [f"{attribute} {spelled(facts.values[attribute])}"]
        for other, result in derived_chain(facts, attribute, hops, syllables):
            told.append(f"with {spelled(other)} gives {spelled(result)}")
        yield " ".join([*told, ";"])
