"""Score one model, or an ensemble of K, on one zero-shot benchmark.

The artifact holds `items.parquet` (every choice's log-likelihood, one line per item and average). Its summary holds
`results`: one entry per average, [{task, split, num_items, num_truncated, average {kind, members}, acc, acc_stderr,
acc_norm, acc_norm_stderr}], the whole ensemble last, and `chance`, the accuracy of guessing.
"""

from __future__ import annotations

import statistics

from megadocs.errors import InputError
from megadocs.pipeline.stages.stage import StageContext
from megadocs.text.tokenizer import load_tokenizer


def run(context: StageContext) -> None:
    """Make the benchmark artifact."""
    from megadocs.evaluate.benchmarks.data import load_benchmark
    from megadocs.evaluate.benchmarks.prompts import PromptEncoder
    from megadocs.evaluate.benchmarks.score import score_benchmark_ensemble, write_items
    from megadocs.pipeline.stages.scorer import averages_of, load_trained

    config = context.config
    data = load_benchmark(config["task"], source=config["source"]).head(config["num_items"])
    if data.sha256 != config["data"]:
        raise InputError(
            "the items changed after the run was planned", where=config["source"], remedy="run the command again"
        )
    trained = context.inputs_of_kind("train")
    encoder = PromptEncoder(load_tokenizer(str(context.inputs["tokenizer"].path)), add_bos=True)
    averages = averages_of(len(trained), config["subsets"])
    results = score_benchmark_ensemble([load_trained(artifact) for artifact in trained], averages, encoder, data)
    write_items(context.build.path / "items.parquet", results)
    chance = statistics.fmean(1 / len(item.continuations) for item in data.items)
    context.build.summary.update(results=[result.summary() for result in results], chance=chance)
