"""Draw the samples that the ledger lacks from models of this recipe, then publish the first N."""

from __future__ import annotations

from megadocs.generate import EngineInfo, export_generations, plan_requests, run_generation
from megadocs.pipeline.distillation_steps import teacher_revision
from megadocs.pipeline.stages import StageContext
from megadocs.pipeline.stages.generate import progress_reporter, refuse_unfinished
from megadocs.recipe import EngineConfig, GenerateConfig, LimitsConfig
from megadocs.text.tokenizer import load_tokenizer

#: A batch of long samples from a large model takes minutes on a CPU.
_TIMEOUT_SECONDS = 86_400.0


def run(context: StageContext) -> None:
    """Make the sample artifact: generations.parquet; its summary holds the books."""
    from megadocs.pipeline.own_engine import OwnEngine
    from megadocs.pipeline.scoring import load_network

    config = _generate_config(context)
    revision = teacher_revision({role: artifact.fingerprint for role, artifact in context.inputs.items()})
    info = EngineInfo(
        identity={"model": "own", "revision": revision, "mix": context.config["mix"]},
        context_tokens=context.inputs["member 00"].record["config"]["train"]["context_length"],
        concurrency=context.settings["batch_size"],
    )
    tokenizer = load_tokenizer(str(context.inputs["tokenizer"].path))
    teachers = [load_network(artifact) for artifact in context.inputs_of_kind("train")]
    engine = OwnEngine(teachers, tokenizer, info, mix=context.config["mix"] or "logits")
    ledger = context.workspace.root / "ledger" / "sample"
    show = progress_reporter(context, "samples")
    books = run_generation(config, "sample", [], ledger, show, context.should_stop, engine=engine)
    refuse_unfinished(books, context)
    requests = plan_requests(config, "sample", [], info)
    counts = export_generations(requests, ledger, context.build.path / "generations.parquet")
    context.build.summary.update(accounting=books.to_json(), export=counts)
    if books.spent_new_tokens > 1000:
        context.build.summary["rate_for_plan"] = books.spent_new_tokens / books.seconds


def _generate_config(context: StageContext) -> GenerateConfig:
    """The step's configuration as a section `generate`, for planning, gates and retries."""
    config = context.config
    section = {name: config[name] for name in ("temperature", "max_new_tokens")}
    return GenerateConfig(
        engine=EngineConfig(kind="own", concurrency=context.settings["batch_size"]),
        sample={"teacher": {"arm": config["teacher"]}, "num_samples": config["num_generations"], **section},
        gates={**config["gates"], "sibling": "accept"},
        seed=config["seed"],
        max_attempts=config["max_attempts"],
        attempt_timeout_seconds=_TIMEOUT_SECONDS,
        limits=LimitsConfig(),
    )
