"""The source string of a world: what it says, and one message for what it cannot be."""

from __future__ import annotations

import pytest

from megadocs.errors import InputError
from megadocs.world import WorldParameters, parse_world


def test_a_source_names_a_world_and_a_world_names_its_source() -> None:
    world = parse_world("world://seed=3,documents=50,hops=2,mentions=1")
    assert world == WorldParameters(seed=3, documents=50, hops=2, mentions=1)
    assert parse_world(world.source) == world
    assert parse_world("world://") == WorldParameters()


@pytest.mark.parametrize(
    ("source", "named"),
    [
        ("world://size=3", "choose from seed, documents"),
        ("world://facts=9", "facts is a whole number from 1 to 8"),
        ("world://facts=0", "facts is a whole number from 1 to 8"),
        ("world://mentions=many", "mentions is a whole number"),
        ("world://seed=-1", "seed is a whole number"),
        ("world://syllables=71", "syllables is a whole number from 2 to 70"),
        ("world://hops=3", "hops is a whole number from 0 to 2"),
        ("world://hops=2,facts=2", "set facts=3 or more"),
        ("world://documents", "documents is a whole number"),
    ],
)
def test_an_impossible_world_is_one_message(source: str, named: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_world(source)
    assert named in str(caught.value)
    assert source in str(caught.value)
