"""The list of segments that a rows artifact is: what it holds, what it lacks, and how to check it.

manifest.save(directory / "rows.json"); RowsManifest.load(directory / "rows.json")
verify_manifest(manifest, segments_dir)        # raises DamagedError naming the first bad file
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from megadocs.errors import DamagedError
from megadocs.recipe.fingerprint import fingerprint
from megadocs.rows.segment import SEGMENT_FILE, SegmentEntry
from megadocs.store.artifact import Problem, iter_problems
from megadocs.store.files import read_json, write_json_atomic

_FORMAT = 1

#: Documents listed by name in a manifest's account of missing generations.
LISTED_DOCUMENTS = 1000


@dataclass(frozen=True, slots=True)
class MissingCount:
    """Generations of one kind that were asked for and did not become text."""

    kind: str
    wanted: int  # generations asked for
    missing: int  # of these, how many are not ok or empty
    num_documents: int
    documents: tuple[str, ...] = ()  # their ids, sorted, at most `LISTED_DOCUMENTS`


@dataclass(frozen=True, slots=True)
class RowsManifest:
    """The rows of one build."""

    segments: tuple[SegmentEntry, ...]  # in a fixed order (kind, then generation)
    tokenizer_fingerprint: str  # of the tokenizer all rows went through
    vocab_size: int
    separators_per_row: int  # 2 (BOS and EOS) or 1
    #: accounts of what was asked for and is not there, one per kind.
    missing: tuple[MissingCount, ...] = field(default=())

    @property
    def num_rows(self) -> int:
        """Rows of all segments."""
        return sum(segment.num_rows for segment in self.segments)

    @property
    def num_tokens(self) -> int:
        """Tokens of all segments, separators included."""
        return sum(segment.num_tokens for segment in self.segments)

    @property
    def num_missing(self) -> int:
        """Missing generations of all kinds."""
        return sum(count.missing for count in self.missing)

    @property
    def fingerprint(self) -> str:
        """Identity of the rows: tokenizer and segment names in order."""
        return fingerprint({"tokenizer": self.tokenizer_fingerprint, "segments": [s.name for s in self.segments]})

    def save(self, path: str | Path) -> None:
        """Write `rows.json`."""
        write_json_atomic(
            path,
            {
                "format": _FORMAT,
                "num_rows": self.num_rows,
                "num_tokens": self.num_tokens,
                "tokenizer_fingerprint": self.tokenizer_fingerprint,
                "vocab_size": self.vocab_size,
                "separators_per_row": self.separators_per_row,
                "segments": [segment.to_json() for segment in self.segments],
                "missing": [
                    {
                        "kind": count.kind,
                        "wanted": count.wanted,
                        "missing": count.missing,
                        "num_documents": count.num_documents,
                        "documents": list(count.documents),
                    }
                    for count in self.missing
                ],
            },
        )

    @classmethod
    def load(cls, path: str | Path) -> RowsManifest:
        """Read `rows.json`; `DamagedError` when it is not one."""
        data = read_json(path)
        try:
            return cls(
                tuple(SegmentEntry(**segment) for segment in data["segments"]),
                data["tokenizer_fingerprint"],
                data["vocab_size"],
                data["separators_per_row"],
                tuple(MissingCount(**{**count, "documents": tuple(count["documents"])}) for count in data["missing"]),
            )
        except (KeyError, TypeError) as error:
            raise DamagedError(
                f"not a list of rows: {error}", where=str(path), remedy="delete this step's artifact and run again"
            ) from error

    def summary(self) -> dict[str, Any]:
        """Counts for a step's record."""
        return {
            "num_rows": self.num_rows,
            "num_tokens": self.num_tokens,
            "num_segments": len(self.segments),
            "missing": {count.kind: {"wanted": count.wanted, "missing": count.missing} for count in self.missing},
        }


def iter_segment_problems(entries: Sequence[SegmentEntry], segments_dir: str | Path) -> Iterator[Problem]:
    """Everything on disk that is not as recorded: missing, truncated, swapped or changed files."""
    for entry in entries:
        directory = Path(segments_dir) / entry.name
        if not directory.is_dir():
            yield Problem(str(directory), "the segment is missing")
            continue
        for problem in iter_problems(directory, entry.files):
            if Path(problem.path).name != SEGMENT_FILE:
                yield problem


def verify_manifest(manifest: RowsManifest, segments_dir: str | Path) -> None:
    """Compare every file of every segment with its SHA-256.

    Raises:
        DamagedError: naming the first bad file.
    """
    for problem in iter_segment_problems(manifest.segments, segments_dir):
        raise DamagedError(
            f"a row segment is damaged: {problem.what}",
            where=problem.path,
            remedy=f"delete {Path(problem.path).parent} and the rows artifact, then run again",
        )


def iter_store_problems(segments_dir: str | Path) -> Iterator[Problem]:
    """Check every segment of a store against its own record and its name; for `megadocs verify`."""
    for record_path in sorted(Path(segments_dir).glob(f"[!.]*/{SEGMENT_FILE}")):
        facts = read_json(record_path)
        facts.pop("format", None)
        if fingerprint(facts, num_hex=32) != record_path.parent.name:
            yield Problem(str(record_path), "does not belong to the segment of this name")
            continue
        yield from iter_segment_problems([SegmentEntry(name=record_path.parent.name, **facts)], segments_dir)
