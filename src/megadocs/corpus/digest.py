"""What a source is, as one hash: the corpus step is done again when, and only when, its source changed."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

from megadocs.corpus.hub import PREFIX as HUB_PREFIX
from megadocs.corpus.hub import list_hub_files
from megadocs.corpus.sotu import PREFIX as SOTU_PREFIX
from megadocs.corpus.sotu import sotu_files
from megadocs.corpus.sources import list_files
from megadocs.errors import InputError
from megadocs.recipe.data import CorpusConfig
from megadocs.recipe.fingerprint import canonical_json
from megadocs.world import PREFIX as WORLD_PREFIX
from megadocs.world import WORLD_VERSION, parse_world


def source_digest(config: CorpusConfig) -> str:
    """Hex SHA-256 over the names, sizes and contents of the source's files (hub: commit and names).

    Names are relative to the source's root, so that a moved folder keeps its digest.

    Raises:
        InputError: the source is missing or unreadable.
    """
    parts: list[tuple[str | int, ...]]
    if config.source.startswith(WORLD_PREFIX):
        parts = [(parse_world(config.source).source, WORLD_VERSION)]
    elif config.source.startswith(HUB_PREFIX):
        listing = list_hub_files(config.source)
        parts = [(listing.dataset.repo, listing.commit, *listing.names)]
    else:
        parts = [(name, *_content(path)) for name, path in _named_files(config.source)]
    return hashlib.sha256(canonical_json(parts).encode("utf-8")).hexdigest()


def _named_files(source: str) -> Iterator[tuple[str, Path]]:
    if source.startswith(SOTU_PREFIX):
        yield from ((row["fileid"], path) for row, path in sotu_files(source))
    else:
        yield from ((file.name, file.path) for file in list_files(source).files)


def _content(path: Path) -> tuple[int, str]:
    try:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        return path.stat().st_size, digest
    except OSError as error:
        raise InputError(f"cannot read: {error.strerror}", where=str(path)) from error
