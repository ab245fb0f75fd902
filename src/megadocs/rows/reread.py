"""Finding segments by what goes into them, so that text tokenised before is not tokenised again.

    <segments>/index/<tokenizer>-<kind>-<generation>/<digest of the rows>.json      the segment that holds them

The digest covers ids, texts and missing thoughts in order; the folder names the tokenizer. Raising G reads the
generations that are there once more (to hash them) and tokenises only the new ones; the segments are the same, byte for
byte. The index can be deleted: then segments are built again and found to exist.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from megadocs.errors import DamagedError
from megadocs.kinds import row_kind
from megadocs.rows.segment import SegmentEntry
from megadocs.rows.source import SourceRow
from megadocs.store.files import make_directory, read_json, write_json_atomic

INDEX_DIR = "index"

#: One segment holds one kind and one generation.
SegmentKey = tuple[str, int]


class Reread(Iterable[SourceRow]):
    """Rows that can be read more than once: each iteration calls `make`."""

    def __init__(self, make: Callable[[], Iterator[SourceRow]]) -> None:
        self._make = make

    def __iter__(self) -> Iterator[SourceRow]:
        return self._make()


def segment_key(row: SourceRow) -> SegmentKey:
    """Which segment a row goes to: one per kind and generation.

    Unconditional samples are numbered through, so theirs hold generations 0, 1, 2-3, 4-7, 8-15, ...
    """
    return row.kind, row.generation.bit_length() if row_kind(row.kind).is_unconditional else row.generation


class SegmentIndex:
    """The index of one store for one tokenizer.

    Args:
        segments_dir: where segments live.
    """

    def __init__(self, segments_dir: str | Path, tokenizer_fingerprint: str) -> None:
        self._segments = Path(segments_dir)
        self._tokenizer = hashlib.sha256(tokenizer_fingerprint.encode("utf-8")).hexdigest()[:32]
        self._digests: dict[SegmentKey, hashlib._Hash] = {}

    def find(self, sources: Iterable[SourceRow]) -> dict[SegmentKey, SegmentEntry]:
        """The segments that hold exactly these rows; `sources` is read once, but only where there is a candidate."""
        candidates = {path.name for path in (self._segments / INDEX_DIR).glob(f"{self._tokenizer}-*")}
        if not candidates:
            return {}
        names: dict[SegmentKey, str] = {}
        for row in sources:
            key = segment_key(row)
            if names.setdefault(key, self._folder(key).name) in candidates:
                self.note(row)
        found = {key: self._look_up(key) for key in sorted(self._digests)}
        self._digests.clear()
        return {key: entry for key, entry in found.items() if entry is not None}

    def note(self, row: SourceRow) -> None:
        """Take in one row of a segment that is being built (or looked for), in the segment's order."""
        digest = self._digests.setdefault(segment_key(row), hashlib.sha256())
        name, text = row.document_id.encode("utf-8"), row.text.encode("utf-8")
        digest.update(struct.pack("<QQQQ", row.generation, row.num_missing_thoughts, len(name), len(text)))
        digest.update(name)
        digest.update(text)

    def remember(self, key: SegmentKey, entry: SegmentEntry) -> None:
        """Enter the segment that was built from the rows noted for `key`."""
        path = self._path(key)
        make_directory(path.parent)
        write_json_atomic(path, entry.to_json())

    def _look_up(self, key: SegmentKey) -> SegmentEntry | None:
        """The entry, if its segment is there with files of the recorded sizes."""
        path = self._path(key)
        if not path.is_file():
            return None
        try:
            entry = SegmentEntry(**read_json(path))
        except (DamagedError, TypeError):
            return None  # an index can be damaged without harm: the segment is built, found to exist, entered again
        for name, facts in entry.files.items():
            file = self._segments / entry.name / name
            if not file.is_file() or file.stat().st_size != facts["bytes"]:
                return None
        return entry

    def _path(self, key: SegmentKey) -> Path:
        return self._folder(key) / f"{self._digests[key].hexdigest()}.json"

    def _folder(self, key: SegmentKey) -> Path:
        kind, group = key
        return self._segments / INDEX_DIR / f"{self._tokenizer}-{kind}-{group}"
