"""The documents of a world, one after another: text, id, and nothing else to know."""

from __future__ import annotations

from collections.abc import Iterator

from megadocs.seeding import derive_seed
from megadocs.world.draws import Draws
from megadocs.world.facts import draw_facts
from megadocs.world.parameters import WorldParameters
from megadocs.world.rendering import document_spans, joined

#: Raised when a world's texts change.
WORLD_VERSION = 1


def iter_world(world: WorldParameters) -> Iterator[tuple[str, str]]:
    """(id, text) of every document. A larger number of documents adds documents and changes none."""
    for number in range(world.documents):
        draws = Draws(derive_seed(world.seed, "world", number))
        facts = draw_facts(world, draws)
        yield f"w{number}", joined(document_spans(world, facts, draws))
