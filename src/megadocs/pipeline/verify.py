"""Everything that `megadocs verify` checks: artifacts, token segments, the generation ledger, the files at the top."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from megadocs.generate import LedgerIndex, load_index
from megadocs.generate.ledger import lost_tails
from megadocs.rows import iter_store_problems
from megadocs.store.artifact import Artifact, Problem, Workspace
from megadocs.store.verify import Verification, verify_top_files, verify_workspace

_REMEDY = "`megadocs generate run` with the recipe restores them"


def verify_everything(root: Path) -> Verification:
    """Check a workspace; `InputError` when the directory is none."""
    return verify_workspace(root, (verify_top_files, _segment_problems, _ledger_problems))


def _segment_problems(root: Path) -> Iterator[Problem]:
    if (root / "segments").is_dir():
        yield from iter_store_problems(root / "segments")


def _ledger_problems(root: Path) -> Iterator[Problem]:
    """What the ledgers lost: by their checksums, by their lengths when last closed, and by what was published of them.

    `megadocs generate run` takes the lost records back from published texts, or asks for them again.
    """
    for directory in sorted((root / "ledger").glob("*/")):
        index = load_index(directory)
        for damage in index.damaged:
            yield Problem(damage.path, f"{damage.length} bytes from offset {damage.offset} are damaged; {_REMEDY}")
        for lost in lost_tails(index, directory):
            what = f"its last {lost.length} bytes, from offset {lost.offset}, are cut off or damaged"
            yield Problem(lost.path, f"{what}; {_REMEDY}")
    for artifact in (*Workspace(root).artifacts("generate"), *Workspace(root).artifacts("sample")):
        directory = root / "ledger" / artifact.record["config"].get("task", "sample")
        num_lost = _num_without_record(artifact, load_index(directory))
        if num_lost:
            name = f"{artifact.step}/{artifact.fingerprint}"
            yield Problem(str(directory), f"{num_lost} generations of {name} have no record any more; {_REMEDY}")


def _num_without_record(artifact: Artifact, index: LedgerIndex) -> int:
    """Published generations (those that were not skipped) that the ledger lacks."""
    import pyarrow.parquet as pq

    path, num_lost = artifact.path / "generations.parquet", 0
    if not path.is_file():  # reported with the artifact
        return 0
    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(columns=["identity", "status"]):
            rows = batch.to_pylist()
            identities = [row["identity"] for row in rows if row["status"] != "skipped"]
            num_lost += int((index.find(identities) < 0).sum())
    return num_lost
