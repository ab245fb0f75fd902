"""From text back to facts and spans: what the engine writes from, and what scores are split by.

Everything is read from the words alone, so a text that went through a corpus file, a prompt or a ledger still has its
facts and its floor. `read_spans` gives the same spans as the generator made.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from megadocs.errors import InputError
from megadocs.world.facts import Facts, Name, derived_fact
from megadocs.world.language import ATTRIBUTES, DOCUMENT_LEADS, HOP_LEADS, OPENING, SECOND_OPENING, SYLLABLES
from megadocs.world.parameters import WorldParameters
from megadocs.world.rendering import TOKEN_CLASSES, Span, TokenClass

_SYLLABLE = f"(?:{'|'.join(SYLLABLES)})"
_NAME = rf"({_SYLLABLE}(?: {_SYLLABLE})*)"
_INDEX = {syllable: index for index, syllable in enumerate(SYLLABLES)}
_TOLD = {f"{lead} {name}": name for lead in DOCUMENT_LEADS for name in ATTRIBUTES}
_DERIVED = {f"{lead} {name}": (name, hops) for hops, lead in enumerate(HOP_LEADS) for name in ATTRIBUTES}
_SENTENCE = re.compile(rf"({'|'.join(map(re.escape, [OPENING, SECOND_OPENING, *_TOLD, *_DERIVED]))}) {_NAME} ?\.")


@dataclass(frozen=True, slots=True)
class WorldFacts:
    """What a text tells."""

    facts: Facts  # its facts
    derived: Mapping[str, Name]  # attribute -> derived fact, of those that it states
    hops: int | None  # how many steps lead to these; None: it states none

    def check_derived(self, syllables: int) -> None:
        """Refuse a text without derived facts, or with others than follow in a world of so many syllables.

        Raises:
            InputError: it derives none, has names of more syllables than the world, or states what does not follow.
        """
        if self.hops is None:
            raise InputError(
                "a thought states how facts are derived, and this document derives none",
                where="corpus.source",
                remedy="add hops=1 to the world's parameters, or leave generate.thought out",
            )
        names = [self.facts.subject, *self.facts.values.values(), *self.derived.values()]
        is_of_world = len({len(name) for name in names}) == 1 and all(max(name) < syllables for name in names)
        for name, value in self.derived.items():
            is_told = is_of_world and name in self.facts.values
            if not is_told or derived_fact(self.facts, name, self.hops, syllables) != value:
                raise InputError(
                    f"a derived fact of this document does not follow in a world of {syllables} syllables",
                    where="generate.engine.options.syllables",
                    remedy="set it to the `syllables` of corpus.source",
                )


def read_facts(text: str) -> WorldFacts:
    """The facts told in a text, whatever stands around its sentences.

    Raises:
        InputError: it is no text of a world.
    """
    subject: Name | None = None
    values: dict[str, Name] = {}
    derived: dict[str, Name] = {}
    hops = None
    for start, name in _sentences(text):
        if start in (OPENING, SECOND_OPENING):
            subject = subject or name
        elif start in _TOLD:
            values.setdefault(_TOLD[start], name)
        else:
            attribute, hops = _DERIVED[start]
            derived[attribute] = name
    if subject is None or not values:
        raise InputError(
            "this text tells no facts of a controlled world",
            where="generate.engine.kind",
            remedy="the engine `world` writes of documents from corpus.source=world://...; choose another engine",
        )
    return WorldFacts(Facts(subject, {name: values[name] for name in ATTRIBUTES if name in values}), derived, hops)


def read_spans(world: WorldParameters, text: str) -> list[Span]:
    """A whole document as the spans that the generator made it of.

    Raises:
        InputError: it is no document of this world.
    """
    new = world.name_length * math.log(world.syllables)
    spans: list[Span] = []
    left = 0
    told: set[str] = set()
    is_of_world = True
    for start, name in _sentences(text):
        is_of_world &= len(name) == world.name_length and max(name) < world.syllables
        token_class: TokenClass = "later_mention"
        nats = 0.0
        if start not in (OPENING, SECOND_OPENING):
            left = left or world.facts
            nats = math.log(left * (1 if start in _DERIVED else len(DOCUMENT_LEADS)))
            left -= 1
        key = OPENING if start == SECOND_OPENING else _TOLD.get(start, start)
        if start in _DERIVED:
            token_class = "derived"
        elif key not in told:
            token_class = "first_mention"
        told.add(key)
        spans.append(Span(start, "template", nats))
        value = " ".join(SYLLABLES[index] for index in name)
        spans.append(Span(value, token_class, new if token_class == "first_mention" else 0.0))
        spans.append(Span(".", "template", 0.0))
    is_of_world &= len(told & set(ATTRIBUTES)) == world.facts
    if not is_of_world or " ".join(span.text for span in spans) != text:
        raise InputError(f"no document of {world.source}: {text[:80]!r}", remedy="score documents of the world itself")
    return spans


def class_floor(spans: Sequence[Span]) -> npt.NDArray[np.float64]:
    """Nats of the floor by class, in the order of `TOKEN_CLASSES`."""
    floor = np.zeros(len(TOKEN_CLASSES))
    for span in spans:
        floor[TOKEN_CLASSES.index(span.token_class)] += span.nats
    return floor


def token_classes(spans: Sequence[Span], offsets: Sequence[tuple[int, int]]) -> npt.NDArray[np.int8]:
    """The class of each token (index into `TOKEN_CLASSES`): that of the span where the token ends.

    Args:
        offsets: character span of every token; a token never holds words of two spans, because byte-level tokenizers
            cut at blanks, but the blank before a word may belong to the word's token.
    """
    ends, position = [], 0
    for span in spans:
        position += len(span.text)
        ends.append(position)
        position += 1  # the blank after it belongs to the next span
    codes = np.array([TOKEN_CLASSES.index(span.token_class) for span in spans], dtype=np.int8)
    places = np.searchsorted(np.array(ends), [end for _, end in offsets])
    return codes[np.minimum(places, len(codes) - 1)]


def _sentences(text: str) -> Iterator[tuple[str, Name]]:
    for found in _SENTENCE.finditer(text):
        yield found[1], tuple(_INDEX[syllable] for syllable in found[2].split())
