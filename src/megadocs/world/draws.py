"""Random choices of the world: a counter through `mix`, so that a text depends on its seed alone, on every machine."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeVar

from megadocs.seeding import mix

T = TypeVar("T")


class Draws:
    """Uniform choices from one seed. `below(n)` is off from uniform by less than n / 2**64."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._count = 0

    def below(self, n: int) -> int:
        """A whole number from 0 to n - 1."""
        self._count += 1
        return (mix(self._seed ^ mix(self._count)) * n) >> 64

    def one_of(self, choices: Sequence[T]) -> T:
        """One of the choices."""
        return choices[self.below(len(choices))]

    def shuffled(self, items: Sequence[T]) -> Iterator[T]:
        """All items, each drawn from those left."""
        left = list(items)
        while left:
            yield left.pop(self.below(len(left)))
