"""From a source to documents: read records, cut pieces, give identities, count what is left out.

    stream = iter_documents(config)
    for document in stream: ...        # each pass reads the source again; nothing is held in memory
    stream.intake.to_json()            # counts of the latest pass

A document's id is the record's own id (with pieces: `id#0`, `id#1`, ...), or the SHA-256 of its text. `meta["group"]`
names the source record, so that a split can keep the pieces of one record on one side.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from megadocs.corpus.hub import PREFIX as HUB_PREFIX
from megadocs.corpus.hub import iter_hub_files, list_hub_files
from megadocs.corpus.parquet import iter_parquet
from megadocs.corpus.pieces import cut_pieces
from megadocs.corpus.records import Intake, Record
from megadocs.corpus.sotu import PREFIX as SOTU_PREFIX
from megadocs.corpus.sotu import iter_sotu
from megadocs.corpus.sources import Reader, SourceFile, is_pointer, iter_json_lines, iter_text_file, list_files
from megadocs.documents import Document
from megadocs.recipe.data import CorpusConfig
from megadocs.seeding import text_digest
from megadocs.world import PREFIX as WORLD_PREFIX
from megadocs.world import iter_world, parse_world


class DocumentStream:
    """The documents of a source; every iteration reads it anew and replaces `intake`."""

    def __init__(self, config: CorpusConfig) -> None:
        self.config = config
        self.intake = Intake()

    def __iter__(self) -> Iterator[Document]:
        self.intake = intake = Intake()
        num_documents = 0
        for record in _iter_records(self.config, intake):
            for document in _documents_of(record, self.config):
                yield document
                num_documents += 1
                if self.config.limit is not None and num_documents >= self.config.limit:
                    return


def iter_documents(config: CorpusConfig) -> DocumentStream:
    """The documents of `config.source`, as an iterable that can be passed over more than once.

    Raises (while iterating):
        InputError: the source is missing, unreadable, damaged, or lacks the named fields.
    """
    return DocumentStream(config)


def source_files(source: str) -> list[Path]:
    """The files of a source on disk, in order; those of a hub dataset are fetched into the hub's cache.

    Raises:
        InputError: nothing there, or it cannot be reached.
    """
    if source.startswith(HUB_PREFIX):
        return [file.path for file in iter_hub_files(list_hub_files(source))]
    return [file.path for file in list_files(source).files]


def _iter_records(config: CorpusConfig, intake: Intake) -> Iterator[Record]:
    if config.source.startswith(SOTU_PREFIX):
        yield from iter_sotu(config.source, intake)
        return
    if config.source.startswith(WORLD_PREFIX):
        yield from _world_records(config.source, intake)
        return
    if config.source.startswith(HUB_PREFIX):
        files = iter_hub_files(list_hub_files(config.source))
    else:
        listing = list_files(config.source)
        intake.note_skipped({file.name: file.path.stat().st_size for file in listing.skipped})
        for file in listing.dangling:
            intake.num_records += 1
            intake.reject("dangling_link", file.name)
        files = iter(listing.files)
    for file in files:
        intake.num_files += 1
        intake.num_bytes += file.path.stat().st_size
        if is_pointer(file.path):
            intake.num_records += 1
            intake.reject("pointer_file", file.name)
            continue
        yield from _reader_of(file)(file, config, intake)


def _world_records(source: str, intake: Intake) -> Iterator[Record]:
    """The documents of a controlled world, which carry its parameters: scores are split by them."""
    world = parse_world(source)
    for identity, text in iter_world(world):
        intake.num_records += 1
        yield Record(text, identity, world.source, {"world": world.source})


def _reader_of(file: SourceFile) -> Reader:
    name = file.name.lower()
    if name.endswith(".parquet"):
        return iter_parquet
    return iter_text_file if name.endswith(".txt") else iter_json_lines


def _documents_of(record: Record, config: CorpusConfig) -> Iterator[Document]:
    group = record.id or text_digest(record.text)
    meta = {**record.meta, "group": group, "source": record.source}
    if config.pieces is None:
        yield Document(group, record.text, meta)
        return
    pieces = cut_pieces(record.text, config.pieces.min_characters, config.pieces.max_characters)
    for index, piece in enumerate(pieces):
        identity = text_digest(piece) if record.id is None else f"{record.id}#{index}"
        yield Document(identity, piece, {**meta, "piece": index})
