"""An ordering: which rows a stream takes and in which sequence, and what the rest of the system needs to know of it.

    rows = spec.order(table, selected, seed=42, epoch=0, options=OrderingOptions(real_document="last"))

An ordering takes the rows that its stream selected (indices into the table, any order) and returns them as the
stream's sequence. It sees no tokens and opens no file. The result must hold the same rows in every epoch; only their
sequence may change. docs/ordering.md specifies each built-in order.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Literal, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from megadocs.kinds.row import REAL
from megadocs.row_table import RowTable

Int64Array = npt.NDArray[np.int64]

RealPlace = Literal["last", "first", "none", "random"]
Role = Literal["method", "control"]


@dataclass(frozen=True, slots=True)
class OrderingOptions:
    """What an ordering may depend on besides the rows."""

    num_generations: int = 0  # the G of the stream (rows with generation < G were selected); 0 where it has none
    real_document: RealPlace = "last"  # where a megadoc's real document stands; with "none" no real rows were selected


class Ordering(Protocol):
    """The protocol: `(table, rows, seed, epoch, options) -> rows in stream order`, all int64 indices into the table."""

    def __call__(
        self, table: RowTable, rows: Int64Array, *, seed: int, epoch: int, options: OrderingOptions
    ) -> Int64Array:
        """Rows in stream order."""


class Setting(NamedTuple):
    """A published best setting of a student of 300M parameters, hidden size 768 (arXiv:2603.18534)."""

    real_epochs: float
    synthetic_fraction: float
    learning_rate: float
    weight_decay: float


class Contrast(NamedTuple):
    """What a control stands beside: the method's ordering, what the control is, and what it would show."""

    method: str
    what: str
    question: str


@dataclass(frozen=True, slots=True)
class OrderingSpec:
    """An ordering and what is known of it."""

    name: str  # in `stream.ordering`; also the stream's name
    order: Ordering
    kinds: tuple[str, ...]  # kinds of row that it takes, the main one first
    adds_real: bool = False  # it takes the real documents, too, unless `stream.real_document` is none
    role: Role = "method"  # a control shows what a method's parts do by themselves; it is never the answer
    repeats: bool = False  # it drops or repeats rows on purpose; any other ordering that does is refused
    counts_copies: bool = False  # `num_generations` says how often it repeats a row, not how many generations it takes
    synthetic_fraction: Decimal | None = None  # share of the stream where a recipe names none; None: none
    #: G -> published setting, where a search may begin; empty: that of `simple`.
    start: Mapping[int, Setting] = field(default_factory=dict)
    colour: int = 5  # of the report's six, for figures over several recipes
    contrast: Contrast | None = None  # of a control that stands beside one method
    #: of a control whose text says nothing that the source does not: what it is, in words. A method that does not beat
    #: such a null control has shown nothing.
    null_text: str = ""

    @property
    def is_null(self) -> bool:
        """Whether it is a null control."""
        return bool(self.null_text)

    def rows(self, real_document: str) -> tuple[str, ...]:
        """Kinds of row that a stream with this `real_document` takes."""
        return (*self.kinds, REAL) if self.adds_real and real_document != "none" else self.kinds
