"""Rows of one kind from a published dataset, for the documents of a corpus.

    manifest, counts = build_published_rows(dataset, config, files, "rephrase", documents, tokenizer, segments_dir)

What the dataset lacks is counted like generations that failed: a document without rephrases, a document without a
stretched row (its text stands in, unbroken), a stretched row with fewer thoughts than its G.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from megadocs.documents import Document
from megadocs.errors import InputError
from megadocs.kinds import REAL, Tags, Written, row_kind
from megadocs.recipe import PublishedConfig, PublishedDataset
from megadocs.rows.build import MissingAccount, build_rows
from megadocs.rows.manifest import RowsManifest
from megadocs.rows.published import PublishedReader
from megadocs.rows.reread import Reread
from megadocs.rows.source import SourceRow, num_wanted_thoughts
from megadocs.text.tokenizer import Tokenizer


def build_published_rows(
    dataset: PublishedDataset,
    config: PublishedConfig,
    files: Sequence[Path],
    kind: str,
    documents: Sequence[Document],
    tokenizer: Tokenizer,
    segments_dir: str | Path,
    *,
    num_workers: int = 1,
) -> tuple[RowsManifest, dict[str, int]]:
    """The rows and counts of what was read: records, repeated documents, documents that are not among `documents`.

    Args:
        files: the dataset's Parquet files, in order.
        kind: name of a row kind that the dataset's form serves.
        documents: the real documents whose rows are wanted; unconditional samples belong to none and are all kept.

    Raises:
        InputError: see `PublishedReader`; or none of the dataset's documents is among the real ones.
    """
    reading = _Reading(dataset, config, files, kind, documents)
    manifest = build_rows(
        Reread(reading.rows), tokenizer, segments_dir, num_workers=num_workers, account=reading.missing
    )
    return manifest, dict(sorted(reading.account.items()))


class _Reading:
    """One dataset read for one kind; `rows` can be called again and starts the counts anew."""

    def __init__(
        self,
        dataset: PublishedDataset,
        config: PublishedConfig,
        files: Sequence[Path],
        kind: str,
        documents: Sequence[Document],
    ) -> None:
        self._dataset, self._config, self._files, self._kind = dataset, config, files, row_kind(kind)
        self._documents = {document.id: document for document in documents}
        self.missing = MissingAccount(kind)
        self.account: Counter[str] = Counter()

    def rows(self) -> Iterator[SourceRow]:
        """The rows, in the order of the dataset; then what stands in for absent stretched rows."""
        self.missing.restart()
        self.account.clear()
        reader = PublishedReader(self._dataset, self._config, self._files, self.account)
        found: Counter[str] = Counter()
        for rows in reader.documents():
            wanted = [row for row in rows if row.kind != REAL]
            if not self._kind.is_unconditional and rows[0].document_id not in self._documents:
                self.account["rows_of_other_documents"] += len(wanted)
                continue
            for row in wanted:
                found[row.document_id] += 1
                yield self._stretched(reader, row) if self._kind.is_stretched else self._sampled(row)
            self.account["rows_kept"] += len(wanted)
        if self._kind.is_unconditional:
            return
        if not found:
            raise InputError(
                f"none of its documents is among the {len(self._documents)} real ones",
                where=self._dataset.source,
                remedy="documents are matched by id_field, else by the SHA-256 of the real text: check id_field, "
                "real_document, the separators and the tags of thoughts",
            )
        yield from self._absent(found)

    def _sampled(self, row: SourceRow) -> SourceRow:
        """The row as one of this kind."""
        if row.kind == self._kind.name:
            return row
        document = self._documents[row.document_id].text
        return replace(row, kind=self._kind.name, text=self._text(document, [Written(None, row.text)]))

    def _stretched(self, reader: PublishedReader, row: SourceRow) -> SourceRow:
        """The row as one of this kind, with the number of thoughts it lacks."""
        document, thoughts = reader.parts(row)
        num_found = len(thoughts)
        wanted = num_wanted_thoughts(self._documents[row.document_id], num_found, row.generation)
        self.missing.add(row.document_id, num_wanted=wanted, num_missing=max(wanted - num_found, 0))
        if row.kind != self._kind.name:
            row = replace(row, kind=self._kind.name, text=self._text(document, thoughts))
        return replace(row, num_missing_thoughts=max(wanted - num_found, 0))

    def _text(self, document: str, written: Sequence[Written]) -> str:
        assert self._kind.text is not None
        return self._kind.text(document, written, Tags(self._config.think_open, self._config.think_close))

    def _absent(self, found: Counter[str]) -> Iterator[SourceRow]:
        """Counts what each document lacks; a document without a stretched row keeps its unbroken text."""
        num_generations = self._dataset.num_generations or 0
        for document in self._documents.values():
            if self._kind.is_sampled:
                lacking = num_generations - found[document.id]
                self.missing.add(document.id, num_wanted=num_generations, num_missing=lacking)
            elif not found[document.id]:
                self.missing.add(document.id, num_wanted=num_generations, num_missing=num_generations)
                self.account["documents_without_a_row"] += 1
                yield SourceRow(document.id, self._kind.name, num_generations, document.text, num_generations)
