"""The latent facts behind a document, and what follows from them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from megadocs.world.draws import Draws
from megadocs.world.language import ATTRIBUTES, SYLLABLES, table_entry
from megadocs.world.parameters import WorldParameters

#: Syllable indices, `name_length` of them.
Name = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Facts:
    """What a document is about."""

    subject: Name  # its name
    values: Mapping[str, Name]  # attribute -> value, in the language's order of attributes


def draw_facts(world: WorldParameters, draws: Draws) -> Facts:
    """A subject and its values, every syllable uniform and independent."""

    def name() -> Name:
        return tuple(draws.below(world.syllables) for _ in range(world.name_length))

    return Facts(name(), {attribute: name() for attribute in ATTRIBUTES[: world.facts]})


def other_facts(facts: Facts, syllables: int, draws: Draws) -> Facts:
    """Facts of the same shape about the same subject, every value drawn anew."""
    values = {name: tuple(draws.below(syllables) for _ in value) for name, value in facts.values.items()}
    return Facts(facts.subject, values)


def derived_chain(facts: Facts, attribute: str, hops: int, syllables: int) -> list[tuple[Name, Name]]:
    """The steps from an attribute's value to its derived fact: (the value that the table is entered with, result).

    Each hop enters the table with the result so far and the value of the next attribute (the last is followed by the
    first); names are taken syllable by syllable. No hop: an empty list.
    """
    names = list(facts.values)
    start = names.index(attribute)
    result = facts.values[attribute]
    steps = []
    for hop in range(1, hops + 1):
        other = facts.values[names[(start + hop) % len(names)]]
        result = tuple(table_entry(a, b, syllables) for a, b in zip(result, other, strict=True))
        steps.append((other, result))
    return steps


def derived_fact(facts: Facts, attribute: str, hops: int, syllables: int) -> Name:
    """What follows from an attribute's value in so many hops; its value itself in none."""
    steps = derived_chain(facts, attribute, hops, syllables)
    return steps[-1][1] if steps else facts.values[attribute]


def spelled(name: Name) -> str:
    """A name as words."""
    return " ".join(SYLLABLES[index] for index in name)
