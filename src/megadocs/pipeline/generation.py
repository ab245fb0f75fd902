"""The generations of a recipe, outside a run: their books, export, audit, and another try for those that failed.

Nothing here needs a published artifact but the corpus: the ledger is read directly. `retry` is the one that writes. The
artifacts that were built on the incomplete text are then moved to `<workspace>/superseded/`, so that the next run makes
them anew; nothing is deleted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from megadocs.corpus import SplitCorpus, iter_documents, read_corpus, split_documents
from megadocs.errors import RecipeError
from megadocs.generate import (
    Accounting,
    GenerationProgress,
    export_generations,
    iter_requests,
    run_generation,
)
from megadocs.generate.audit import audit_generations
from megadocs.generate.engines import Engine
from megadocs.generate.plan import Task
from megadocs.generate.progress import LiveProgress, read_progress
from megadocs.generate.status import read_accounting
from megadocs.pipeline.experiment import open_experiment
from megadocs.pipeline.runner import find_artifact
from megadocs.recipe import Recipe
from megadocs.store.artifact import RECORD, Artifact, Workspace
from megadocs.store.files import write_json_atomic

_TASKS: tuple[Task, ...] = ("rephrase", "thought")


def tasks_of(recipe: Recipe) -> tuple[Task, ...]:
    """The tasks that the recipe generates; `RecipeError` when it generates none."""
    tasks = tuple(task for task in _TASKS if getattr(recipe.generate, task) is not None)
    if not tasks:
        raise RecipeError("the recipe generates nothing", where="generate", remedy="add generate.rephrase or .thought")
    return tasks


def open_corpus(recipe: Recipe, workspace: Workspace) -> SplitCorpus:
    """The published corpus, or the same made afresh in memory."""
    _, step = open_experiment(recipe, workspace)
    artifact = find_artifact(step, workspace)
    if artifact is not None:
        return read_corpus(artifact.path)
    return split_documents(iter_documents(recipe.corpus), recipe.corpus)


@dataclass(frozen=True, slots=True)
class TaskStatus:
    """Where one task stands.

    Attributes:
        task: `rephrase` or `thought`.
        num_documents: training documents.
        books: from the ledger as it is now.
        live: what the process that writes noted last, or the one before; None when there was none.
    """

    task: Task
    num_documents: int
    books: Accounting
    live: LiveProgress | None

    def to_json(self) -> dict[str, Any]:
        """For `--json`."""
        live = {"live": asdict(self.live.progress), "is_running": self.live.is_running} if self.live else {}
        return {"task": self.task, "num_documents": self.num_documents, **self.books.to_json(), **live}


def iter_status(recipe: Recipe, workspace: Workspace) -> Iterator[TaskStatus]:
    """The state of each task."""
    documents = open_corpus(recipe, workspace).train_multiple(1)
    for task in tasks_of(recipe):
        ledger = workspace.root / "ledger" / task
        books = read_accounting(recipe.generate, task, documents, ledger)
        yield TaskStatus(task, len(documents), books, read_progress(ledger))


def export_all(recipe: Recipe, workspace: Workspace, directory: Path) -> dict[str, dict[str, Any]]:
    """Write `<task>.parquet` of every task into a directory; the counts of each."""
    documents = sorted(open_corpus(recipe, workspace).train_multiple(1), key=lambda document: document.id)
    directory.mkdir(parents=True, exist_ok=True)
    return {
        task: export_generations(
            iter_requests(recipe.generate, task, documents),
            workspace.root / "ledger" / task,
            directory / f"{task}.parquet",
        )
        for task in tasks_of(recipe)
    }


def audit_all(recipe: Recipe, workspace: Workspace) -> dict[str, Any]:
    """Audit what the ledger holds: leaks of held-out text, copies, siblings, languages. Writes `audit.json`."""
    corpus = open_corpus(recipe, workspace)
    directory = workspace.root / "export"
    export_all(recipe, workspace, directory)
    audit = audit_generations(
        {task: directory / f"{task}.parquet" for task in tasks_of(recipe)},
        corpus.train,
        {"validation": corpus.validation, "test": corpus.test},
    )
    write_json_atomic(workspace.root / "audit.json", audit)
    return audit


def retry_failed(
    recipe: Recipe,
    workspace: Workspace,
    report: Callable[[GenerationProgress], None],
    should_stop: Callable[[], bool],
    build: Callable[[], Engine],
) -> dict[str, Accounting]:
    """Try the failed generations again with fresh seeds; set aside what was built without them.

    Args:
        recipe: whose generations failed.
        workspace: that holds the ledger.
        report: called about once a second.
        should_stop: polled; True ends it in good order.
        build: makes the engine, once for each task.

    Returns:
        Books of each task that had failures.
    """
    documents = open_corpus(recipe, workspace).train_multiple(1)
    books: dict[str, Accounting] = {}
    for task in [status.task for status in iter_status(recipe, workspace) if status.books.failed]:
        books[task] = run_generation(
            recipe.generate,
            task,
            documents,
            workspace.root / "ledger" / task,
            report,
            should_stop,
            redo=frozenset({"failed"}),
            engine=build(),
        )
    if books:
        for artifact in workspace.artifacts("generate"):
            if artifact.record["config"]["task"] in books and artifact.summary["accounting"]["failed"]:
                _set_aside(artifact, workspace)
    return books


def _set_aside(artifact: Artifact, workspace: Workspace) -> None:
    """Move an artifact and everything built on it to `superseded/`."""
    for other in workspace.artifacts():
        if artifact.fingerprint in other.record["inputs"].values():
            _set_aside(other, workspace)
    if not (artifact.path / RECORD).is_file():  # moved already, by way of another of its users
        return
    target = workspace.root / "superseded" / artifact.step
    target.mkdir(parents=True, exist_ok=True)
    number = sum(1 for _ in target.glob(f"{artifact.fingerprint}-*"))
    artifact.path.rename(target / f"{artifact.fingerprint}-{number}")
