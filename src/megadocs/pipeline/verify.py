"""Everything that `megadocs verify` checks: artifacts, token segments, the generation ledger, the files at the top."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from megadocs.generate import load_index
from megadocs.rows import iter_store_problems
from megadocs.store.artifact import Problem
from megadocs.store.verify import Verification, verify_top_files, verify_workspace


def verify_everything(root: Path) -> Verification:
    """Check a workspace; `InputError` when the directory is none."""
    return verify_workspace(root, (verify_top_files, _segment_problems, _ledger_problems))


def _segment_problems(root: Path) -> Iterator[Problem]:
    if (root / "segments").is_dir():
        yield from iter_store_problems(root / "segments")


def _ledger_problems(root: Path) -> Iterator[Problem]:
    """Ranges of the ledgers whose checksums do not fit; their generations are written again by the next run."""
    for directory in sorted((root / "ledger").glob("*/")):
        for damage in load_index(directory).damaged:
            yield Problem(damage.path, f"{damage.length} bytes from offset {damage.offset} are damaged")
