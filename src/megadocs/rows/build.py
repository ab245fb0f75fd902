"""Building rows: documents and generations in, immutable segments and a manifest out.

    manifest = build_real_rows(documents, tokenizer, segments_dir)
    manifest = build_sampled_rows("rephrase", generations_parquet, tokenizer, segments_dir, num_generations=4)
    manifest = build_stretched_rows(documents, generations_parquet, tokenizer, segments_dir, num_generations=4)

One segment holds one kind and one generation, rows in the order of document ids. So the rephrases of G = 2 are the
first two segments of G = 4, byte for byte, and raising G tokenises only what is new (`reread.py`); stretched rows of
another G are new segments. Memory stays flat: rows stream through.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from megadocs.documents import Document
from megadocs.errors import InputError
from megadocs.kinds import Tags, row_kind
from megadocs.rows.encode import encode_sources
from megadocs.rows.generations import Generation, iter_generations
from megadocs.rows.manifest import LISTED_DOCUMENTS, MissingCount, RowsManifest
from megadocs.rows.reread import Reread, SegmentIndex, SegmentKey, segment_key
from megadocs.rows.segment import SegmentEntry, SegmentWriter, remove_stale_partials
from megadocs.rows.source import SourceRow, real_sources, stretched_sources
from megadocs.text.tokenizer import Tokenizer

_NO_TAGS = Tags("", "")


def build_real_rows(
    documents: Iterable[Document], tokenizer: Tokenizer, segments_dir: str | Path, *, num_workers: int = 1
) -> RowsManifest:
    """Rows of real documents, whatever their order.

    Raises:
        InputError: no documents, an empty one, or two of one id.
    """
    ordered = sorted(documents, key=lambda document: document.id)
    return build_rows(Reread(lambda: real_sources(ordered)), tokenizer, segments_dir, num_workers=num_workers)


def build_sampled_rows(
    kind: str,
    generations: str | Path,
    tokenizer: Tokenizer,
    segments_dir: str | Path,
    *,
    num_generations: int | None = None,
    documents: Mapping[str, str] | None = None,
    num_workers: int = 1,
) -> RowsManifest:
    """Rows of a kind of which each generation is one: rephrases, samples, answers.

    Args:
        kind: name of a row kind that is not stretched.
        generations: Parquet file, sorted by document id and generation.
        num_generations: keep generations below this; None: all.
        documents: id -> text of those to keep; None: all, for a kind that is made of the generation alone.

    Raises:
        InputError: the file is unreadable, holds no usable generation, or fewer of them than asked for.
    """
    row_of, account = row_kind(kind), MissingAccount(kind)
    make_text = row_of.text
    if make_text is None or not row_of.is_sampled:
        raise ValueError(f"not a kind of one row a generation: {kind!r}")

    def sources() -> Iterator[SourceRow]:
        account.restart()
        for item in iter_generations(generations, row_of.task):
            if num_generations is not None and item.generation >= num_generations:
                continue
            name = item.identity if row_of.is_unconditional else item.document_id
            if name is None or (documents is not None and name not in documents):
                continue
            account.add(name, num_missing=not item.is_usable)
            if item.is_usable:
                text = make_text("" if documents is None else documents[name], [item.written], _NO_TAGS)
                yield SourceRow(name, kind, item.generation, text)

    manifest = build_rows(Reread(sources), tokenizer, segments_dir, num_workers=num_workers, account=account)
    num_built = len(manifest.segments)
    if num_generations is not None and not row_of.is_unconditional and num_built < num_generations:
        raise InputError(
            f"rows of {num_generations} generations each were asked for; the file has {num_built}",
            where=str(generations),
            remedy=f"run `megadocs generate run` with generate.{row_of.task}.num_generations={num_generations}",
        )
    return manifest


def build_stretched_rows(
    documents: Sequence[Document],
    generations: str | Path,
    tokenizer: Tokenizer,
    segments_dir: str | Path,
    *,
    num_generations: int,
    think_open: str = "<think>",
    think_close: str = "</think>",
    kind: str = "latent_thoughts",
    num_workers: int = 1,
) -> RowsManifest:
    """Rows of stretched documents: each text with the thoughts of this G at their split points.

    Args:
        generations: Parquet file with thoughts, sorted by document id and generation.
        num_generations: G. Thoughts asked for with another G are left alone: split points do not nest.
        kind: name of a stretched row kind; `thoughts_appended`, for one, puts the thoughts behind the text.

    Raises:
        InputError: the file is unreadable or holds no thought of this G.
    """
    row_of, account = row_kind(kind), MissingAccount(kind)
    if not row_of.is_stretched:
        raise ValueError(f"not a stretched kind: {kind!r}")
    wanted = {document.id for document in documents}

    def thoughts() -> Iterator[Generation]:
        account.restart()
        for item in iter_generations(generations, row_of.task):
            if item.num_generations == num_generations and item.document_id in wanted:
                account.add(item.document_id or "", num_missing=not item.is_usable)
                yield item

    def sources() -> Iterator[SourceRow]:
        tags = Tags(think_open, think_close)
        return stretched_sources(documents, thoughts(), num_generations=num_generations, kind=row_of, tags=tags)

    manifest = build_rows(Reread(sources), tokenizer, segments_dir, num_workers=num_workers, account=account)
    if not account.wanted:
        raise InputError(
            f"the file holds no {row_of.task} of G = {num_generations} for these documents",
            where=str(generations),
            remedy=f"run `megadocs generate run` with generate.{row_of.task}.num_generations={num_generations}",
        )
    return manifest


def build_rows(
    sources: Iterable[SourceRow],
    tokenizer: Tokenizer,
    segments_dir: str | Path,
    *,
    num_workers: int = 1,
    account: MissingAccount | None = None,
) -> RowsManifest:
    """Rows of any sources: one segment per (kind, generation), rows in the order given.

    Raises:
        InputError: there are no rows, a row is empty, or a document occurs twice in one segment.
        StoreError: the segments could not be written; nothing half-written stays visible.
    """
    remove_stale_partials(segments_dir)
    index = SegmentIndex(segments_dir, tokenizer.fingerprint)
    entries = index.find(sources) if isinstance(sources, Reread) else {}
    entries |= _build_segments(sources, set(entries), tokenizer, segments_dir, num_workers, index)
    if not entries:
        raise InputError("there are no rows to build", where=str(segments_dir), remedy="generate some text first")
    missing = () if account is None else (account.count(),)
    segments = tuple(entries[key] for key in sorted(entries))
    return RowsManifest(segments, tokenizer.fingerprint, tokenizer.vocab_size, tokenizer.separators_per_row, missing)


def _build_segments(
    sources: Iterable[SourceRow],
    known: Collection[SegmentKey],
    tokenizer: Tokenizer,
    segments_dir: str | Path,
    num_workers: int,
    index: SegmentIndex,
) -> dict[SegmentKey, SegmentEntry]:
    """Tokenise and write every segment that is not known yet."""
    writers: dict[SegmentKey, SegmentWriter] = {}
    last_document: dict[SegmentKey, str] = {}
    unknown = (row for row in sources if segment_key(row) not in known)
    entries: dict[SegmentKey, SegmentEntry] = {}
    try:
        for row, tokens in encode_sources(unknown, tokenizer, num_workers=num_workers):
            key = segment_key(row)
            if key not in writers:
                writers[key] = SegmentWriter(segments_dir, tokenizer.vocab_size)
            elif last_document[key] == row.document_id:
                raise InputError(
                    f"two rows of kind {row.kind!r}, generation {row.generation}, belong to one document",
                    where=row.document_id,
                    remedy="ids must be unique",
                )
            last_document[key] = row.document_id
            index.note(row)
            writers[key].append(row, tokens)
        for key in sorted(writers):
            entries[key] = writers.pop(key).close()
            index.remember(key, entries[key])
    finally:
        for writer in writers.values():
            writer.discard()
    return entries


class MissingAccount:
    """Counts generations asked for and missing while they stream by."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.restart()

    def restart(self) -> None:
        """Count from nothing: the sources are read again."""
        self.wanted = 0
        self._missing = 0
        self._documents: set[str] = set()

    def add(self, document_id: str, *, num_wanted: int = 1, num_missing: int = 0) -> None:
        """Count generations of one document."""
        self.wanted += num_wanted
        if num_missing > 0:
            self._missing += num_missing
            self._documents.add(document_id)

    def count(self) -> MissingCount:
        """The counts so far."""
        listed = tuple(sorted(self._documents)[:LISTED_DOCUMENTS])
        return MissingCount(self.kind, self.wanted, self._missing, len(self._documents), listed)
