"""A controlled world: documents rendered from latent facts by a generator whose entropy is known exactly.

    world = parse_world("world://seed=3,documents=1200,facts=8,mentions=4")
    for document_id, text in iter_world(world): ...
    found = read_facts(text)                    # what rephrases and thoughts are rendered from (the engine `world`)
    spans = read_spans(world, text)             # words by class, each with its nats: the floor under every loss

It answers questions that real text cannot: which tokens an arm gains on, and how far it still is from what can be
known. Read `language` first, then `rendering`.
"""

from __future__ import annotations

from megadocs.world.documents import WORLD_VERSION, iter_world
from megadocs.world.draws import Draws
from megadocs.world.facts import other_facts
from megadocs.world.parameters import PREFIX, WorldParameters, parse_world
from megadocs.world.reading import WorldFacts, class_floor, read_facts, read_spans, token_classes
from megadocs.world.rendering import RENDERING_VERSION, TOKEN_CLASSES, rephrase, thought

__all__ = [
    "PREFIX",
    "RENDERING_VERSION",
    "TOKEN_CLASSES",
    "WORLD_VERSION",
    "Draws",
    "WorldFacts",
    "WorldParameters",
    "class_floor",
    "iter_world",
    "other_facts",
    "parse_world",
    "read_facts",
    "read_spans",
    "rephrase",
    "thought",
    "token_classes",
]
