"""Everything that `megadocs verify` checks: artifacts, token segments, the generation ledger, the files at the top."""

from __future__ import annotations

from pathlib import Path

from megadocs.generate import iter_ledger_problems
from megadocs.rows import iter_segment_problems
from megadocs.store.verify import Verification, verify_top_files, verify_workspace


def verify_everything(root: Path) -> Verification:
    """Check a workspace; `InputError` when the directory is none."""
    return verify_workspace(root, (verify_top_files, iter_segment_problems, iter_ledger_problems))
