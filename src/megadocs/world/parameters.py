"""What a controlled world is made with: the part of `corpus.source` after `world://`.

world://                                        the defaults
world://seed=3,documents=1200,facts=8,mentions=4
world://seed=3,hops=2,mentions=1,syllables=16,name_length=1
"""

from __future__ import annotations

from dataclasses import dataclass, fields

from megadocs.errors import InputError
from megadocs.world.language import ATTRIBUTES, HOP_LEADS, SYLLABLES

PREFIX = "world://"

#: Name -> smallest and largest value.
_BOUNDS = {
    "seed": (0, 2**31 - 1),
    "documents": (1, 1_000_000),
    "facts": (1, len(ATTRIBUTES)),
    "mentions": (1, 64),
    "name_length": (1, 6),
    "syllables": (2, len(SYLLABLES)),
    "hops": (0, len(HOP_LEADS) - 1),
}


@dataclass(frozen=True, slots=True)
class WorldParameters:
    """A world."""

    seed: int = 0  # which documents; another seed is another world of the same language
    documents: int = 2000
    facts: int = 8  # attributes that a document tells of
    mentions: int = 4  # how often each is told
    name_length: int = 3  # syllables of a name or value
    syllables: int = 64  # how many there are to choose from
    #: None: no derived facts; else how many steps of the fixed table lead from the facts of a document's first part to
    #: those of its second (0: they are the facts themselves).
    hops: int | None = None

    @property
    def source(self) -> str:
        """The `corpus.source` that names this world in full."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return PREFIX + ",".join(f"{name}={value}" for name, value in values.items() if value is not None)


def parse_world(source: str) -> WorldParameters:
    """The parameters in `world://name=value,...`.

    Raises:
        InputError: an unknown name, a value out of range, or values that no document can have together.
    """
    values: dict[str, int] = {}
    for part in filter(None, source.removeprefix(PREFIX).split(",")):
        name, _, text = part.partition("=")
        if name not in _BOUNDS:
            raise _refused(source, f"a world has no parameter {name!r}", f"choose from {', '.join(_BOUNDS)}")
        low, high = _BOUNDS[name]
        if not text.isdecimal() or not low <= int(text) <= high:
            raise _refused(source, f"{name}={text}", f"{name} is a whole number from {low} to {high}")
        values[name] = int(text)
    world = WorldParameters(**values)
    if world.hops and world.facts <= world.hops:
        raise _refused(
            source,
            f"{world.hops} hops lead through {world.hops + 1} facts, a document has {world.facts}",
            f"set facts={world.hops + 1} or more, or fewer hops",
        )
    return world


def _refused(source: str, what: str, remedy: str) -> InputError:
    return InputError(f"no such world: {what}", where=f"{source} (corpus.source)", remedy=remedy)
