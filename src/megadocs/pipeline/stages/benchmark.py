"""Score one model, or an ensemble of K, on one task of lm-evaluation-harness.

The artifact holds `items.parquet` (every choice's log-likelihood, one line per item and average). Its summary holds
`results`: one entry per average, [{task, split, num_items, num_truncated, average {kind, members}, metric, acc,
acc_stderr, ...}] with every metric of the task, the whole ensemble last, and `chance`, the accuracy of guessing.
"""

from __future__ import annotations

from megadocs.errors import InputError
from megadocs.pipeline.stages.stage import StageContext
from megadocs.text.tokenizer import load_tokenizer


def run(context: StageContext) -> None:
    """Make the benchmark artifact."""
    from megadocs.evaluate.benchmarks.score import score_benchmark, write_items
    from megadocs.evaluate.benchmarks.tasks import find_benchmark
    from megadocs.pipeline.stages.scorer import averages_of, load_trained, watcher

    config = context.config
    benchmark = find_benchmark(config["task"], **config["options"])
    planned = {name: config[name] for name in benchmark.identity()}
    if benchmark.identity() != planned:
        remedy = "run the command again"
        raise InputError("the benchmark changed after the run was planned", where=config["task"], remedy=remedy)
    trained = context.inputs_of_kind("train")
    watch = watcher(context)
    results = score_benchmark(
        [load_trained(artifact) for artifact in trained],
        averages_of(len(trained), config["subsets"]),
        load_tokenizer(str(context.inputs["tokenizer"].path)),
        benchmark,
        add_bos=True,
        watch=lambda done, total: watch(benchmark.name, done, total),
    )
    write_items(context.build.path / "items.parquet", results)
    context.build.summary.update(results=[result.summary() for result in results], chance=results[0].chance)
