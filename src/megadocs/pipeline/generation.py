"""The generations of a recipe, outside a run: accounting, export, audit, another try for those that are missing.

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
    load_index,
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
from megadocs.pipeline.steps.gate import probe_tasks
from megadocs.pipeline.steps.rows import without_custom_orderings
from megadocs.pipeline.steps.sources import open_experiment, sources_step
from megadocs.pipeline.steps.step import find_artifact
from megadocs.recipe import GenerateConfig, Recipe
from megadocs.recipe.consent import check_consent
from megadocs.store.artifact import Workspace
from megadocs.store.files import make_directory, write_json_atomic


@dataclass(frozen=True, slots=True)
class TaskPlan:
    """What makes the requests of one task."""

    task: str
    config: GenerateConfig  # the section `generate` that they follow
    documents: Sequence[Document]  # the training documents, or the probe documents; none for samples
    info: EngineInfo | None = None  # of the teacher; None: the engine's, found out when it is needed
    is_of_probes: bool = False  # whether the documents are the probes, which nothing is trained on

    @property
    def name(self) -> str:
        """What its file and its accounting are called."""
        return f"{self.task}_probe" if self.is_of_probes else self.task

    def requests(self) -> Iterator[GenerationRequest]:
        """All requests, in order."""
        return iter_requests(self.config, self.task, self.documents, self.info)


def plan_tasks(recipe: Recipe, workspace: Workspace) -> list[TaskPlan]:
    """The tasks that the recipe generates, of probe documents too; `RecipeError` when it generates none."""
    corpus = open_corpus(recipe, workspace)
    documents, probes = (sorted(split, key=lambda d: d.id) for split in (corpus.train_multiple(1), corpus.probe))
    plans = [TaskPlan(task, recipe.generate, documents) for task in recipe.generate.tasks]
    plans += [
        TaskPlan(task, recipe.generate.with_num_generations(task, num), probes, is_of_probes=True)
        for task, num in probe_tasks(recipe).items()
    ]
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
    """Where one task stands."""

    task: str  # its name; `<task>_probe` for the generations of probe documents
    num_documents: int  # documents that are written about; 0 for samples, which have none
    accounting: Accounting  # from the ledger as it is now
    live: LiveProgress | None  # what the process that writes noted last, or the one before; None when there was none
    #: what the servers said of failed generations, the most frequent first, with their numbers.
    reasons: Mapping[str, int]

    def to_json(self) -> dict[str, Any]:
        """For `--json`."""
        live = {"live": asdict(self.live.progress), "is_running": self.live.is_running} if self.live else {}
        reasons = {"reasons": dict(self.reasons)}
        return {"task": self.task, "num_documents": self.num_documents, **self.accounting.to_json(), **reasons, **live}


def iter_status(recipe: Recipe, workspace: Workspace) -> Iterator[TaskStatus]:
    """The state of each task."""
    for plan in plan_tasks(recipe, workspace):
        ledger = workspace.root / "ledger" / plan.task
        index = load_index(ledger)
        accounting = read_accounting(plan.config, plan.task, plan.documents, index, plan.info)
        reasons = count_reasons(index) if accounting.failed else {}
        yield TaskStatus(plan.name, len(plan.documents), accounting, read_progress(ledger), reasons)


def export_all(recipe: Recipe, workspace: Workspace, directory: Path) -> dict[str, dict[str, Any]]:
    """Write `<task>.parquet` of every task into a directory; the counts of each."""
    make_directory(directory)
    counts: dict[str, dict[str, Any]] = {}
    for plan in plan_tasks(recipe, workspace):
        requests = plan.requests()
        counts[plan.name] = export_generations(
            sorted(requests, key=lambda request: request.document_id) if plan.task == SAMPLE else requests,
            workspace.root / "ledger" / plan.task,
            directory / f"{plan.name}.parquet",
            with_reasons=True,
        )
    return counts


def audit_all(recipe: Recipe, workspace: Workspace) -> dict[str, Any]:
    """Audit what the ledger holds: leaks of held-out text, copies, siblings, languages. Writes `audit.json`."""
    corpus = open_corpus(recipe, workspace)
    directory = workspace.root / "export"
    export_all(recipe, workspace, directory)
    trained_on = [plan.name for plan in plan_tasks(recipe, workspace) if not plan.is_of_probes]
    files = {name: directory / f"{name}.parquet" for name in trained_on}
    audit = audit_generations(files, corpus.train, corpus.held_out)
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
        only: statuses, classes of errors and flags of those that are asked for.
        report: called about once a second.
        should_stop: polled; True stops it gracefully.
        build: makes the engine, once for each task.

    Returns:
        Accounting of each task of which anything was asked for.
    """
    check_consent(recipe, {"generate"})
    accounting: dict[str, Accounting] = {}
    for plan in plan_tasks(recipe, workspace):
        ledger = workspace.root / "ledger" / plan.task
        before = read_accounting(plan.config, plan.task, plan.documents, load_index(ledger), plan.info)
        counts = {"failed": before.failed, "rejected": before.rejected, **before.errors, **before.flags}
        if plan.task == SAMPLE or not (before.pending or any(counts.get(name, 0) for name in only)):
            continue
        accounting[plan.name] = run_generation(
            plan.config, plan.task, plan.documents, ledger, report, should_stop, reopened=only, engine=build()
        )
        if accounting[plan.name].ok > before.ok:
            _set_aside_incomplete(plan, workspace)
    return accounting


def _set_aside_incomplete(plan: TaskPlan, workspace: Workspace) -> None:
    """Set aside what was built on the task while generations were missing."""
    of = "probe" if plan.is_of_probes else "train"
    for artifact in list(workspace.artifacts("generate")):
        config = artifact.record["config"]
        is_of_plan = (config["task"], config.get("documents", "train")) == (plan.task, of)
        if is_of_plan and Accounting.from_json(artifact.summary["accounting"]).missing:
            set_aside(artifact, workspace)
