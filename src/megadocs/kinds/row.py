"""A row kind: what one row of training data is made of."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

#: Name of the kind whose rows are the real documents themselves; every store and every baseline has it.
REAL = "real"
REAL_CODE = 0


class Written(NamedTuple):
    """One usable generation: where its prompt cut the document (None: nowhere), and the text."""

    cut: int | None
    text: str


class Tags(NamedTuple):
    """What stands before and after a text that is put into a document (`stream.think_open`, `stream.think_close`)."""

    open: str
    close: str


#: `(document, generations, tags) -> text` of one row, without separators. A row that is not stretched gets one
#: generation; an unconditional one gets an empty document.
RowText = Callable[[str, Sequence[Written], Tags], str]


@dataclass(frozen=True, slots=True)
class RowKind:
    """What one row is made of."""

    name: str  # in records, row tables and messages
    #: in row keys and row tables; permanent, never used again for another kind. Built-in ones are below 128, a user's
    #: own from 128 to 255.
    code: int
    text: RowText | None = None  # makes a row's text; None for real documents
    task: str | None = None  # the generation task that it is made of; None for real documents
    #: one row a document holds all its generations, and the row's `generation` is their G. Else each generation is a
    #: row, numbered by `generation`, and the rows of a smaller G are among those of a larger one.
    is_stretched: bool = False
    is_unconditional: bool = False  # its generations were written without a document, and each is a document of its own
    holds_document: bool = False  # the row shows the whole text of its document (counted as an exposure of it)
    forms: tuple[str, ...] = ()  # forms of a published dataset (`published.datasets.*.form`) that it can be read from

    @property
    def is_sampled(self) -> bool:
        """Whether each generation is a row."""
        return self.task is not None and not self.is_stretched
