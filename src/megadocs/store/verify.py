"""Check a whole workspace: every file of every artifact, segment and ledger against what was recorded of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from megadocs.errors import InputError, MegadocsError
from megadocs.store.artifact import RECORD, Problem, Workspace, iter_problems
from megadocs.store.files import file_sha256, read_json

NO_COPY = "is no copy of a published report"


@dataclass(frozen=True, slots=True)
class Verification:
    """What was checked and what was found."""

    num_files: int  # files whose SHA-256 was compared
    num_bytes: int  # their size
    problems: tuple[Problem, ...]  # everything that differs, in a stable order; empty is good


def verify_workspace(
    root: str | Path, extra_checks: tuple[Callable[[Path], Iterator[Problem]], ...] = ()
) -> Verification:
    """Compare every recorded file with its SHA-256.

    Args:
        root: a workspace.
        extra_checks: functions root -> problems, for what has a format of its own (ledgers, segments).

    Raises:
        InputError: the directory is no workspace.
    """
    root = Path(root)
    if not root.is_dir():
        raise InputError("no such workspace", where=str(root), remedy="give the directory of --workspace")
    num_files = num_bytes = 0
    problems: list[Problem] = []
    records = sorted(path for path in root.glob(f"*/*/{RECORD}") if not path.parent.name.endswith(".partial"))
    if not records:
        raise InputError("nothing was published in this workspace yet", where=str(root), remedy="run a recipe first")
    for path in records:
        try:
            files = read_json(path)["files"]
        except (MegadocsError, KeyError, TypeError):
            problems.append(Problem(str(path), "the record is damaged"))
            continue
        num_files += len(files)
        num_bytes += sum(facts["bytes"] for facts in files.values())
        problems.extend(iter_problems(path.parent, files))
    for check in extra_checks:
        problems.extend(check(root))
    return Verification(num_files, num_bytes, tuple(problems))


def verify_top_files(root: Path) -> Iterator[Problem]:
    """The copies at the top of the workspace (report.html, results.json) equal a published report artifact's."""
    for name, digests in sorted(published_digests(root).items()):
        path = root / name
        if "/" not in name and path.is_file() and file_sha256(path) not in digests:
            yield Problem(str(path), NO_COPY)


def published_digests(root: Path) -> dict[str, set[str]]:
    """File name -> SHA-256 of that file in every report that was published in the workspace."""
    published: dict[str, set[str]] = {}
    for artifact in Workspace(root).artifacts("report"):
        for name, facts in artifact.record["files"].items():
            published.setdefault(name, set()).add(facts["sha256"])
    return published
