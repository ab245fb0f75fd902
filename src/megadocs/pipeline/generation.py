"""The generations of a recipe, outside a run: their books, export, audit, and another try for those that are missing.

Nothing here needs a published artifact but the corpus: the ledger is read directly. Samples of a teacher are those of
the teacher that the recipe trains now; before the corpus is there no teacher is known and all of them are pending.
`retry` is the one that writes, and it leaves samples alone: no server can have failed them. The
artifacts that were built on the incomplete text are then moved to `<workspace>/superseded/`, so that the next run makes
them anew; nothing is deleted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from megadocs.corpus import SplitCorpus, iter_documents, read_corpus, split_documents
from megadocs.documents import Document
from megadocs.errors import RecipeError
from megadocs.generate import (
    Accounting,
    EngineInfo,
    GenerationProgress,
    export_generations,
    iter_requests,
    run_generation,
)
from megadocs.generate.audit import audit_generations
from megadocs.generate.engines import Engine
from megadocs.generate.progress import LiveProgress, read_progress
from megadocs.generate.requests import GenerationRequest
from megadocs.generate.status import count_reasons, read_accounting
from megadocs.kinds import SAMPLE, task_names
from megadocs.pipeline.reopening import set_aside
from megadocs.pipeline.steps.distillation import sample_config, sample_engine
from megadocs.pipeline.steps.rows import without_custom_orderings
from megadocs.pipeline.steps.sources import open_experiment, sources_step
from megadocs.pipeline.steps.step import find_artifact
from megadocs.recipe import GenerateConfig, Recipe
from megadocs.recipe.consent import check_consent
from megadocs.store.artifact import Workspace
from megadocs.store.files import make_directory, write_json_atomic


@dataclass(frozen=True, slots=True)
class TaskPlan:
    """What makes the requests of one task.

    Attributes:
        task: its name.
        config: the section `generate` that they follow.
        documents: the training documents; none for samples.
        info: of the teacher; None: the engine's, found out when it is needed.
    """

    task: str
    config: GenerateConfig
    documents: Sequence[Document]
    info: EngineInfo | None = None

    def requests(self) -> Iterator[GenerationRequest]:
        """All requests, in order."""
        return iter_requests(self.config, self.task, self.documents, self.info)


def plan_tasks(recipe: Recipe, workspace: Workspace) -> list[TaskPlan]:
    """The tasks that the recipe generates; `RecipeError` when it generates none."""
    documents = sorted(open_corpus(recipe, workspace).train_multiple(1), key=lambda document: document.id)
    plans = [TaskPlan(task, recipe.generate, documents) for task in recipe.generate.tasks]
    plans += _sample_plans(recipe, workspace)
    if not plans:
        remedy = f"add one of {', '.join(f'generate.{task}' for task in (*task_names(), SAMPLE))}"
        raise RecipeError("the recipe generates nothing", where="generate", remedy=remedy)
    return plans


def _sample_plans(recipe: Recipe, workspace: Workspace) -> list[TaskPlan]:
    """The task `sample` with the most samples that an arm wants; nothing where no arm trains on samples."""
    if recipe.generate.sample is None:
        return []
    experiment, _ = open_experiment(without_custom_orderings(recipe), workspace)
    if experiment is None:
        section = recipe.generate.sample.model_copy(
            update={"max_new_tokens": recipe.generate.sample.max_new_tokens or 1}
        )
        config = recipe.generate.model_copy(update={"sample": section})
        return [TaskPlan(SAMPLE, config, (), EngineInfo({"model": "own", "revision": None}, 1, 1))]
    steps = sorted(experiment.of_kind("sample"), key=lambda step: step.config["num_generations"])
    for step in steps[-1:]:
        fingerprints = {
            role: (find_artifact(needed, workspace) or needed).fingerprint for role, needed in step.inputs.items()
        }
        context_tokens = step.inputs["member 00"].config["train"]["context_length"]
        info = sample_engine(step.config, step.settings, fingerprints, context_tokens)
        return [TaskPlan(SAMPLE, sample_config(step.config, step.settings), (), info)]
    return []


def open_corpus(recipe: Recipe, workspace: Workspace) -> SplitCorpus:
    """The published corpus, or the same made afresh in memory."""
    step = sources_step(recipe, workspace)
    artifact = find_artifact(step, workspace)
    if artifact is not None:
        return read_corpus(artifact.path)
    return split_documents(iter_documents(recipe.corpus), recipe.corpus)


@dataclass(frozen=True, slots=True)
class TaskStatus:
    """Where one task stands.

    Attributes:
        task: its name.
        num_documents: training documents; 0 for samples, which have none.
        books: from the ledger as it is now.
        live: what the process that writes noted last, or the one before; None when there was none.
        reasons: what the servers said of failed generations, the most frequent first, with their numbers.
    """

    task: str
    num_documents: int
    books: Accounting
    live: LiveProgress | None
    reasons: Mapping[str, int]

    def to_json(self) -> dict[str, Any]:
        """For `--json`."""
        live = {"live": asdict(self.live.progress), "is_running": self.live.is_running} if self.live else {}
        reasons = {"reasons": dict(self.reasons)}
        return {"task": self.task, "num_documents": self.num_documents, **self.books.to_json(), **reasons, **live}


def iter_status(recipe: Recipe, workspace: Workspace) -> Iterator[TaskStatus]:
    """The state of each task."""
    for plan in plan_tasks(recipe, workspace):
        ledger = workspace.root / "ledger" / plan.task
        books = read_accounting(plan.config, plan.task, plan.documents, ledger, plan.info)
        reasons = count_reasons(ledger) if books.failed else {}
        yield TaskStatus(plan.task, len(plan.documents), books, read_progress(ledger), reasons)


def export_all(recipe: Recipe, workspace: Workspace, directory: Path) -> dict[str, dict[str, Any]]:
    """Write `<task>.parquet` of every task into a directory; the counts of each."""
    make_directory(directory)
    counts: dict[str, dict[str, Any]] = {}
    for plan in plan_tasks(recipe, workspace):
        requests = plan.requests()
        counts[plan.task] = export_generations(
            sorted(requests, key=lambda request: request.document_id) if plan.task == SAMPLE else requests,
            workspace.root / "ledger" / plan.task,
            directory / f"{plan.task}.parquet",
            with_reasons=True,
        )
    return counts


def audit_all(recipe: Recipe, workspace: Workspace) -> dict[str, Any]:
    """Audit what the ledger holds: leaks of held-out text, copies, siblings, languages. Writes `audit.json`."""
    corpus = open_corpus(recipe, workspace)
    directory = workspace.root / "export"
    counts = export_all(recipe, workspace, directory)
    audit = audit_generations(
        {task: directory / f"{task}.parquet" for task in counts},
        corpus.train,
        {"validation": corpus.validation, "test": corpus.test},
    )
    write_json_atomic(workspace.root / "audit.json", audit)
    return audit


def retry_generations(
    recipe: Recipe,
    workspace: Workspace,
    only: frozenset[str],
    report: Callable[[GenerationProgress], None],
    should_stop: Callable[[], bool],
    build: Callable[[], Engine],
) -> dict[str, Accounting]:
    """Ask again, with fresh seeds, for generations that failed or were rejected; set aside what was built without them.

    Args:
        recipe: whose generations are missing.
        workspace: that holds the ledger.
        only: statuses, classes of errors and flags of those that are asked for.
        report: called about once a second.
        should_stop: polled; True stops it gracefully.
        build: makes the engine, once for each task.

    Returns:
        Books of each task of which anything was asked for.
    """
    check_consent(recipe, {"generate"})
    documents = open_corpus(recipe, workspace).train_multiple(1)
    books: dict[str, Accounting] = {}
    for status in list(iter_status(recipe, workspace)):
        before, task = status.books, status.task
        counts = {"failed": before.failed, "rejected": before.rejected, **before.errors, **before.flags}
        if task == SAMPLE or not (before.pending or any(counts.get(name, 0) for name in only)):
            continue
        ledger = workspace.root / "ledger" / task
        books[task] = run_generation(
            recipe.generate, task, documents, ledger, report, should_stop, reopened=only, engine=build()
        )
        if books[task].ok > before.ok:
            for artifact in workspace.artifacts("generate"):
                published = Accounting.from_json(artifact.summary["accounting"])
                if artifact.record["config"]["task"] == task and published.missing:
                    set_aside(artifact, workspace)
    return books
