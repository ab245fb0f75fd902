"""What there is in a workspace: published artifacts, work in progress and by whom, generations on record."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from megadocs.errors import DamagedError, InputError, MegadocsError
from megadocs.pipeline.price.lines import Plan
from megadocs.pipeline.price.plan import build_plan
from megadocs.pipeline.run import last_recipe
from megadocs.pipeline.steps.search_records import SEARCH_FILE
from megadocs.store.artifact import Workspace
from megadocs.store.files import read_json
from megadocs.store.lock import is_locked

#: A driver that has not written for so long is gone.
_ALIVE_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class UnfinishedWork:
    """A partial artifact: `is_running` when a living process holds its lock."""

    step: str
    fingerprint: str
    is_running: bool


@dataclass(frozen=True, slots=True)
class WorkspaceStatus:
    """The state of a workspace."""

    counts: dict[str, int]  # published artifacts by step
    unfinished: tuple[UnfinishedWork, ...]  # partial artifacts
    plan: Plan | None  # what is left of the recipe that ran here last; None when its source can no longer be read
    plan_error: str | None  # why not
    #: the `search.json` that `megadocs search` wrote last, and `is_alive`: its driver has written to it within half a
    #: minute; None: no search ran here.
    search: dict[str, Any] | None = None


def read_status(root: Path) -> WorkspaceStatus:
    """Look at a workspace; `InputError` when the directory is none."""
    if not root.is_dir():
        raise InputError("no such workspace", where=str(root), remedy="give the directory of --workspace")
    counts: dict[str, int] = {}
    for artifact in Workspace(root).artifacts():
        counts[artifact.step] = counts.get(artifact.step, 0) + 1
    plan: Plan | None = None
    error: str | None = "no recipe ran here yet"
    try:
        if (recipe := last_recipe(root)) is not None:
            plan, error = build_plan(recipe, root), None
    except MegadocsError as problem:
        error = str(problem)
    return WorkspaceStatus(counts, tuple(_unfinished(root)), plan, error, read_search(root))


def read_search(root: Path) -> dict[str, Any] | None:
    """The last search, and whether somebody works on it: a driver writes every few seconds."""
    path = root / SEARCH_FILE
    if not path.is_file():
        return None
    found: dict[str, Any] = read_json(path)
    if not isinstance(found, dict) or not {"ending", "arms", "name"} <= set(found):
        raise DamagedError("not the state of a search", where=str(path), remedy="move it away; a search writes it anew")
    is_fresh = time.time() - found.get("updated_unix", 0.0) < _ALIVE_SECONDS
    return found | {"is_alive": found["ending"] == "unfinished" and is_fresh}


def _unfinished(root: Path) -> Iterator[UnfinishedWork]:
    for partial in sorted(root.glob("*/*.partial")):
        step, fingerprint = partial.parent.name, partial.name.removesuffix(".partial")
        yield UnfinishedWork(step, fingerprint, is_locked(root / "locks" / f"{step}-{fingerprint}.lock"))
