"""Write the generations of one task that the ledger lacks, then publish what it holds for this corpus and G."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from megadocs.corpus import SplitCorpus, read_corpus
from megadocs.documents import Document
from megadocs.errors import IncompleteError, InputError
from megadocs.generate import (
    Accounting,
    GenerationProgress,
    engine_info,
    export_generations,
    iter_requests,
    run_generation,
)
from megadocs.generate.engines import Engine
from megadocs.generate.plan import build_templates
from megadocs.generate.progress import progress_event
from megadocs.generate.requests import GenerationRequest
from megadocs.pipeline.cluster.ray_cluster import build_cluster_engine
from megadocs.pipeline.stages.stage import StageContext, Stopped
from megadocs.recipe import GenerateConfig


def run(context: StageContext) -> None:
    """Make the generate artifact: generations.parquet; its summary holds the accounting."""
    task = context.config["task"]
    config, documents = asked_of(context.config, read_corpus(context.inputs["corpus"].path))
    _refuse_changed_prompts(context, config)
    ledger = context.workspace.root / "ledger" / task
    engine = _cluster_engine(config, context)
    show = progress_reporter(context)
    logs = context.workspace.root / "logs"
    accounting = run_generation(config, task, documents, ledger, show, context.should_stop, engine=engine, log_dir=logs)
    refuse_unfinished(accounting, context)
    requests = iter_requests(config, task, sorted(documents, key=lambda document: document.id))  # never a list
    publish_generations(context, accounting, requests, ledger)


def publish_generations(
    context: StageContext, accounting: Accounting, requests: Iterable[GenerationRequest], ledger: Path
) -> None:
    """Export what the ledger holds of the requests, with the accounting in the summary."""
    counts = export_generations(requests, ledger, context.build.path / "generations.parquet")
    context.build.summary.update(accounting=accounting.to_json(), export=counts)
    if accounting.spent_new_tokens > 1000:  # a handful of requests says nothing about speed
        context.build.summary["rate_for_plan"] = accounting.spent_new_tokens / accounting.seconds


def asked_of(config: Mapping[str, Any], corpus: SplitCorpus) -> tuple[GenerateConfig, Sequence[Document]]:
    """What a step of this kind asks for: the section `generate` with its number of generations, and the documents."""
    generate = GenerateConfig.model_validate(config["generate"])
    documents = corpus.probe if config.get("documents") == "probe" else corpus.train_multiple(1)
    return generate.with_num_generations(config["task"], config["num_generations"]), documents


def _refuse_changed_prompts(context: StageContext, config: GenerateConfig) -> None:
    templates = build_templates(config, context.config["task"], engine_info(config.engine))
    if [template.digest for template in templates] != context.config["requests"]:
        raise InputError(
            "a prompt style or the engine's model changed while the recipe ran",
            where=f"generate.{context.config['task']}",
            remedy="run again when nothing writes to them",
        )


def _cluster_engine(config: GenerateConfig, context: StageContext) -> Engine | None:
    """The engine on the workers of the executor's Ray cluster; None: one beside this process."""
    address = context.settings.get("ray_address")
    if address is None:
        return None
    return build_cluster_engine(config.engine, address, lambda text: context.report({"note": text}))


def progress_reporter(context: StageContext, unit: str = "generations") -> Callable[[GenerationProgress], None]:
    """Passes the progress of a generation run on to the step's."""

    def report(progress: GenerationProgress) -> None:
        context.report(progress_event(progress, unit))

    return report


def refuse_unfinished(accounting: Accounting, context: StageContext) -> None:
    """Publish nothing while generations are pending; the ledger keeps what was written."""
    if accounting.is_complete:
        return
    if context.should_stop():
        raise Stopped
    raise IncompleteError(
        f"generation stopped ({accounting.stopped}), {accounting.pending} of {accounting.requested} generations left",
        where="generate.limits",
        remedy="raise the ceiling and run again: what was written is kept",
    )
