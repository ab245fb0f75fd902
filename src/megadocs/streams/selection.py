"""Which rows a stream is made of: by kind, generation and document, with everything that is missing counted.

    selection = select_rows(table, spec, documents=ids, missing="allow", max_missing_fraction=0.02)
    selection.rows                      # int64 indices into the table, ascending
    selection.num_missing               # generations that the stream wanted and the table lacks

Simple and stitched streams of the same G select through the same function, hence hold the same rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from megadocs.errors import InputError, MissingGenerationsError, RecipeError
from megadocs.kinds import row_kind, row_kinds
from megadocs.kinds.ordering import Int64Array
from megadocs.row_table import RowTable

#: Column of thoughts missing inside each stretched row, made by the row builder.
MISSING_THOUGHTS = "num_missing_thoughts"

_SHOWN = 5


@dataclass(frozen=True, slots=True)
class Wanted:
    """The rows an ordering asks for."""

    kinds: tuple[str, ...]  # names of row kinds
    num_generations: int | None = None  # G of the sampled kinds (first G generations); None: all there are
    num_thoughts: int | None = None  # G of the stretched kinds; None: the only one there is


@dataclass(frozen=True, slots=True)
class Selection:
    """Rows of one stream."""

    rows: Int64Array  # int64 (R,), ascending indices into the table
    num_generations: int  # the G of its rephrases or samples (0 without)
    num_thoughts: int  # the G of its stretched rows (0 without)
    num_wanted: int  # generations (samples and thoughts) the stream wanted
    num_missing: int  # how many of them the table lacks; they are left out
    missing_documents: tuple[str, ...]  # ids of the documents concerned, sorted


def select_rows(
    table: RowTable,
    wanted: Wanted,
    documents: Sequence[str] | None,
    *,
    missing: str = "allow",
    max_missing_fraction: float = 0.02,
) -> Selection:
    """The rows of the wanted kinds over the given documents.

    Args:
        documents: ids of the documents the stream may use; None: all. Unconditional samples belong to no document
            and are always in.
        missing: "allow" up to the fraction, or "refuse" any.

    Raises:
        InputError: a document has no real row although the stream wants it, or a kind is absent altogether.
        RecipeError: G is larger than what was generated, or several G of thoughts exist and none was named.
        MissingGenerationsError: more is missing than allowed.
    """
    in_documents = _documents_mask(table, documents)
    parts: list[Int64Array] = []
    lack = _Lack()
    num_generations = num_thoughts = 0
    kinds = [row_kind(name) for name in wanted.kinds]
    for kind in kinds:
        rows = np.flatnonzero((table.kind == kind.code) & (in_documents | kind.is_unconditional))
        if not len(rows):
            raise InputError(
                f"there are no rows of kind {kind.name!r} for this stream",
                where="stream.ordering",
                remedy=f"build them first: `megadocs generate run`, then `megadocs rows` (kind {kind.name})",
            )
        if kind.is_sampled:
            num_generations = _checked_generations(table, rows, kind.name, wanted.num_generations)
            rows = rows[table.generation[rows] < num_generations]
            if not kind.is_unconditional:
                lack.count_samples(table, rows, num_generations, in_documents, documents)
        elif kind.is_stretched:
            num_thoughts = _chosen_thoughts(table, rows, kind.name, wanted.num_thoughts)
            rows = rows[table.generation[rows] == num_thoughts]
            lack.count_thoughts(table, rows, num_thoughts)
        parts.append(rows)
    if any(not kind.is_sampled for kind in kinds):
        _refuse_absent_documents(table, parts, documents)
    lack.check(missing, max_missing_fraction)
    selected = np.sort(np.concatenate(parts)) if parts else np.empty(0, dtype=np.int64)
    return Selection(selected, num_generations, num_thoughts, lack.wanted, lack.missing, tuple(sorted(lack.documents)))


class _Lack:
    """Counts of wanted and missing generations, and whose they are."""

    def __init__(self) -> None:
        self.wanted = 0
        self.missing = 0
        self.documents: set[str] = set()

    def count_samples(
        self,
        table: RowTable,
        rows: Int64Array,
        num_generations: int,
        in_documents: npt.NDArray[np.bool_],
        documents: Sequence[str] | None,
    ) -> None:
        """Count, for each document, how many of its `num_generations` rows there are."""
        expected = np.zeros(len(table.document_ids), dtype=bool)
        expected[table.document_index[in_documents]] = True
        if documents is None:  # documents that only unconditional samples name want no rephrase
            expected[:] = False
            unconditional = [kind.code for kind in row_kinds() if kind.is_unconditional]
            expected[table.document_index[~np.isin(table.kind, unconditional)]] = True
        found = np.bincount(table.document_index[rows], minlength=len(table.document_ids))
        short = np.flatnonzero(expected & (found < num_generations))
        unknown = set(documents or ()) - set(table.document_ids)
        self.wanted += (int(expected.sum()) + len(unknown)) * num_generations
        self.missing += int((num_generations - found[short]).sum()) + len(unknown) * num_generations
        self.documents.update(table.document_ids[index] for index in short.tolist())
        self.documents |= unknown

    def count_thoughts(self, table: RowTable, rows: Int64Array, num_thoughts: int) -> None:
        """Count the thoughts that the stretched rows lack."""
        self.wanted += num_thoughts * len(rows)
        if MISSING_THOUGHTS not in table.extra:
            return
        lacking = table.extra[MISSING_THOUGHTS][rows].astype(np.int64)
        self.missing += int(lacking.sum())
        short = rows[lacking > 0]
        self.documents.update(table.document_ids[index] for index in table.document_index[short].tolist())

    def check(self, missing: str, max_missing_fraction: float) -> None:
        """Raise when more is missing than allowed."""
        allowed = 0.0 if missing == "refuse" else max_missing_fraction * self.wanted
        if self.missing <= allowed:
            return
        names = sorted(self.documents)
        more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
        raise MissingGenerationsError(
            f"{self.missing} of {self.wanted} generations are missing, of {len(names)} documents: "
            f"{', '.join(names[:_SHOWN])}{more}",
            where="stream.missing" if missing == "refuse" else "stream.max_missing_fraction",
            remedy="make them with `megadocs generate run RECIPE`, or allow more (stream.max_missing_fraction)",
        )


def _documents_mask(table: RowTable, documents: Sequence[str] | None) -> npt.NDArray[np.bool_]:
    """Bool (N,): the row's document is one of `documents`."""
    if documents is None:
        return np.ones(len(table), dtype=bool)
    allowed = set(documents)
    return np.fromiter((name in allowed for name in table.document_ids), dtype=bool, count=len(table.document_ids))[
        table.document_index
    ]


def _refuse_absent_documents(table: RowTable, parts: list[Int64Array], documents: Sequence[str] | None) -> None:
    """Every document has a real row and a stretched row: where one is absent, the store is wrong or partial."""
    if documents is None or not parts:
        return
    used = {table.document_ids[index] for index in np.unique(table.document_index[np.concatenate(parts)]).tolist()}
    absent = sorted(set(documents) - used)
    if absent:
        raise InputError(
            f"{len(absent)} of {len(set(documents))} documents have no row in this stream: "
            f"{', '.join(absent[:_SHOWN])}",
            where="rows",
            remedy="build the rows from the same documents as the corpus",
        )


def _checked_generations(table: RowTable, rows: Int64Array, kind: str, num_generations: int | None) -> int:
    available = int(table.generation[rows].max()) + 1
    if num_generations is not None and num_generations > available:
        raise RecipeError(
            f"the stream asks for {num_generations} generations of kind {kind!r}; {available} exist",
            where="stream.num_generations",
            remedy=f"generate more (generate.{row_kind(kind).task}.num_generations={num_generations}) or lower it to "
            f"{available}",
        )
    return num_generations or available


def _chosen_thoughts(table: RowTable, rows: Int64Array, kind: str, num_thoughts: int | None) -> int:
    available = sorted(set(table.generation[rows].tolist()))
    if num_thoughts is None and len(available) == 1:
        return int(available[0])
    if num_thoughts in available:
        return int(num_thoughts or 0)
    generate = f", or generate with generate.{row_kind(kind).task}.num_generations={num_thoughts}"
    raise RecipeError(
        f"stretched rows ({kind}) exist for G = {', '.join(map(str, available))}; the stream names "
        f"{'none of them' if num_thoughts is None else num_thoughts}",
        where="stream.num_thoughts",
        remedy=f"choose one of them{'' if num_thoughts is None else generate}",
    )
