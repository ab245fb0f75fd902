"""Draw the samples that the ledger lacks from models of this recipe, then publish the first N."""

from __future__ import annotations

from megadocs.generate import plan_requests, run_generation
from megadocs.pipeline.stages.generate import progress_reporter, publish_generations, refuse_unfinished
from megadocs.pipeline.stages.stage import StageContext
from megadocs.pipeline.steps.distillation import sample_config, sample_engine
from megadocs.text.tokenizer import load_tokenizer


def run(context: StageContext) -> None:
    """Make the sample artifact: generations.parquet; its summary holds the accounting."""
    from megadocs.pipeline.stages.own_engine import OwnEngine
    from megadocs.pipeline.stages.scorer import load_network

    config = sample_config(context.config, context.settings)
    fingerprints = {role: artifact.fingerprint for role, artifact in context.inputs.items()}
    context_tokens = context.inputs["member 00"].record["config"]["train"]["context_length"]
    info = sample_engine(context.config, context.settings, fingerprints, context_tokens)
    tokenizer = load_tokenizer(str(context.inputs["tokenizer"].path))
    teachers = [load_network(artifact) for artifact in context.inputs_of_kind("train")]
    engine = OwnEngine(teachers, tokenizer, info, mix=context.config["mix"] or "logits")
    ledger = context.workspace.root / "ledger" / "sample"
    show = progress_reporter(context, "samples")
    accounting = run_generation(config, "sample", [], ledger, show, context.should_stop, engine=engine)
    refuse_unfinished(accounting, context)
    publish_generations(context, accounting, plan_requests(config, "sample", [], info), ledger)
