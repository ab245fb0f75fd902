"""What scoring costs: against a bare forward loop, K members against K single scorings, benchmarks against the harness.

    python benchmarks/bench_eval.py                                     # losses and ensembles, random tiny models
    python benchmarks/bench_eval.py --model FOLDER --items 100           # and benchmarks, beside lm-evaluation-harness
    python benchmarks/bench_eval.py --out results.json --losses-only --contexts 256 1024 4096

The sides of a comparison take turns, and the ratio is the median of the rounds' ratios, in processor seconds of this
process: wall time on a shared machine says more about the neighbours. One thread, unless OMP_NUM_THREADS says more.
The targets: 1.1 forward loops for a set, 1.05 K single scorings for an ensemble, 1.0 harness for benchmarks.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from megadocs.evaluate.benchmarks.tasks import find_benchmark
from megadocs.evaluate.document_losses import iter_window_losses, score_documents, score_windows
from megadocs.evaluate.ensembles import score_ensemble_windows
from megadocs.evaluate.evaluation_set import EvaluationSet
from megadocs.evaluate.scoring_model import Dtype, ScoringModel, as_scoring_model
from megadocs.evaluate.target_losses import Average
from megadocs.machine import processor_name
from megadocs.model.llama import Llama, build_model
from megadocs.model.memory import freed_memory_kept
from megadocs.recipe import ModelConfig
from megadocs.recipe.training import Preset

VOCAB_SIZE, CONTEXT, BATCH = 2048, 256, 32
#: Tokens of a forward pass when losses are compared: the batch at each context.
PASS_TOKENS = CONTEXT * BATCH


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--windows", type=int, default=256)
    parser.add_argument("--contexts", nargs="*", type=int, default=[CONTEXT])
    parser.add_argument("--losses-only", action="store_true", help="no ensembles, no memory")
    parser.add_argument("--members", type=int, default=4)
    parser.add_argument("--model", help="Hugging Face folder for the benchmark comparison (needs lm-eval)")
    parser.add_argument("--items", type=int, default=100)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    record: dict[str, Any] = {"hardware": hardware(), "arguments": {k: str(v) for k, v in vars(arguments).items()}}
    record["losses"] = [
        bench_losses(dtype, context, max(1, arguments.windows * CONTEXT // context), arguments.rounds)
        for context in arguments.contexts
        for dtype in ("float32", "bfloat16")
    ]
    if arguments.losses_only:
        finish(record, arguments.out)
        return
    record["ensembles"] = [
        bench_ensemble("tiny", arguments.members, arguments.windows, arguments.rounds),
        bench_ensemble("20m", arguments.members, max(BATCH, arguments.windows // 8), max(1, arguments.rounds // 2)),
    ]
    record["memory"] = bench_memory(arguments.members)
    if arguments.model:
        record["benchmarks"] = [
            bench_harness(arguments.model, task, arguments.items) for task in ("piqa", "sciq", "arc_easy")
        ]
    finish(record, arguments.out)


def finish(record: dict[str, Any], out: Path | None) -> None:
    text = json.dumps(record, indent=1)
    print(text)
    if out:
        out.write_text(text + "\n")


def bench_losses(dtype: Dtype, context: int, num_windows: int, rounds: int) -> dict[str, Any]:
    """A set scored windowed and alone, each against the model called on the very windows that it forms.

    The bare loop twice: as it stands, and with freed memory kept in the process, as scoring does.
    """
    model = build_model(ModelConfig(preset="tiny"), VOCAB_SIZE, context, 0)
    model.compute_dtype = getattr(torch, dtype)
    data = random_set(num_windows * context // CONTEXT)
    tokens = torch.from_numpy(np.concatenate(data.rows)[: num_windows * context].astype(np.int64)).view(-1, context)
    scoring, batch = as_scoring_model(model, dtype=dtype), max(1, PASS_TOKENS // context)

    slides = windows_alone(data, context, batch)

    def bare(batches: Sequence[torch.Tensor]) -> None:
        with torch.no_grad():
            for batch in batches:
                model(batch)

    def bare_in_kept_memory() -> None:
        with freed_memory_kept():
            bare(tokens.split(batch))

    seconds = take_turns(
        rounds,
        bare=lambda: bare(tokens.split(batch)),
        bare_in_kept_memory=bare_in_kept_memory,
        windowed=lambda: score_windows(scoring, data, context_length=context, batch_size=batch),
        bare_alone=lambda: bare(slides),
        alone=lambda: score_documents(scoring, data, context_length=context, batch_size=batch),
    )
    return {
        "dtype": dtype,
        "context": context,
        "num_windows": num_windows,
        "us_per_token": {name: 1e6 * statistics.median(times) / tokens.numel() for name, times in seconds.items()},
        "windowed": compare({name: seconds[name] for name in ("bare", "bare_in_kept_memory", "windowed")}, "bare"),
        "alone": compare({name: seconds[name] for name in ("bare_alone", "alone")}, "bare_alone"),
        "alone_tokens_forwarded": sum(batch.numel() for batch in slides) / data.num_tokens,
        "target": 1.1,
    }


def windows_alone(data: EvaluationSet, context: int, batch: int) -> list[torch.Tensor]:
    """The batches that scoring each document alone forms: overlapping slides past the context, padding included."""
    batches: list[torch.Tensor] = []

    def record(tokens_BT: torch.Tensor) -> torch.Tensor:
        batches.append(tokens_BT)
        return torch.zeros(1).expand(*tokens_BT.shape, VOCAB_SIZE)

    score_documents(ScoringModel.from_callable(record, VOCAB_SIZE), data, context_length=context, batch_size=batch)
    return batches


def bench_ensemble(preset: Preset, num_members: int, num_windows: int, rounds: int) -> dict[str, Any]:
    """K members jointly against K single scorings: the mean of all logits alone, and every size with both averages."""
    members = [as_scoring_model(member, dtype="bfloat16") for member in build_members(preset, num_members)]
    data = random_set(num_windows)
    everyone = [Average(tuple(range(num_members)))]

    def singles() -> None:
        for member in members:
            score_windows(member, data, context_length=CONTEXT, batch_size=BATCH)

    def ensemble() -> None:
        for _ in iter_window_losses(members, everyone, data, context_length=CONTEXT, batch_size=BATCH):
            pass

    def every_size() -> None:
        score_ensemble_windows(members, data, context_length=CONTEXT, batch_size=BATCH)

    seconds = take_turns(rounds, singles=singles, ensemble=ensemble, every_size=every_size)
    return {
        "preset": preset,
        "num_members": num_members,
        "dtype": "bfloat16",
        "ensemble": compare({name: seconds[name] for name in ("singles", "ensemble")}, "singles"),
        "every_size": compare({name: seconds[name] for name in ("singles", "every_size")}, "singles"),
        "target": 1.05,
    }


def bench_memory(num_members: int) -> list[dict[str, Any]]:
    """Peak memory after scoring sets of growing size: it must not grow with the set (beyond the tokens themselves)."""
    members = [as_scoring_model(member, dtype="bfloat16") for member in build_members("tiny", num_members)]
    peaks = []
    for num_windows in (64, 256, 1024):
        score_ensemble_windows(members, random_set(num_windows), context_length=CONTEXT, batch_size=BATCH)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
        peaks.append({"num_windows": num_windows, "peak_mib": peak})
    return peaks


def bench_harness(folder: str, task: str, num_items: int) -> dict[str, Any]:
    """Our model and the harness's own `hf` model on the same requests, loading left out."""
    from lm_eval.models.huggingface import HFLM

    from megadocs.evaluate.benchmarks.language_model import MegadocsLM

    task_object = find_benchmark(task, num_items=num_items).open()["tasks"][task]
    task_object.build_all_requests(limit=num_items)
    requests = task_object.instances
    harness = HFLM(pretrained=folder, device="cpu", dtype="float32", batch_size=16)
    seconds = take_turns(
        1,
        harness=lambda: harness.loglikelihood(requests, disable_tqdm=True),
        built_in=lambda: MegadocsLM(folder).loglikelihood(requests),
        warm_up=False,
    )
    return {
        "task": task,
        "num_items": num_items,
        "num_requests": len(requests),
        **compare(seconds, "harness"),
        "target": 1.0,
    }


def random_set(num_windows: int) -> EvaluationSet:
    rng = np.random.default_rng(0)
    lengths = rng.integers(150, 350, num_windows * CONTEXT // 250 + 8)
    rows = [rng.integers(0, VOCAB_SIZE, length).astype(np.uint16) for length in lengths]
    while sum(map(len, rows)) - len(rows[-1]) >= num_windows * CONTEXT:
        rows.pop()
    rows[-1] = rows[-1][: len(rows[-1]) - (sum(map(len, rows)) - num_windows * CONTEXT)]
    if len(rows[-1]) < 2:
        rows[-2:] = [np.concatenate(rows[-2:])]
    return EvaluationSet("random", [str(i) for i in range(len(rows))], rows, [4 * len(row) for row in rows])


def build_members(preset: Preset, num_members: int) -> list[Llama]:
    return [build_model(ModelConfig(preset=preset), VOCAB_SIZE, CONTEXT, seed) for seed in range(num_members)]


def take_turns(rounds: int, *, warm_up: bool = True, **sides: Callable[[], Any]) -> dict[str, list[float]]:
    """Processor seconds of each side in each round; the sides alternate within a round."""
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for round_number in range(rounds + warm_up):
        for name, run in sides.items():
            start = time.process_time()
            run()
            if round_number or not warm_up:
                seconds[name].append(time.process_time() - start)
    return seconds


def compare(seconds: dict[str, list[float]], base: str) -> dict[str, Any]:
    """Median processor seconds of each side, and the median and range of its rounds' ratios to the base."""
    result: dict[str, Any] = {"processor_seconds": {n: round(statistics.median(s), 3) for n, s in seconds.items()}}
    for name, values in seconds.items():
        if name != base:
            ratios = [value / other for value, other in zip(values, seconds[base], strict=True)]
            spread = [round(min(ratios), 3), round(max(ratios), 3)]
            result[f"{name}_over_{base}"] = {"median": round(statistics.median(ratios), 3), "range": spread}
    return result


def hardware() -> dict[str, Any]:
    return {
        "machine": platform.machine(),
        "processor": processor_name(),
        "num_cpus": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "torch": torch.__version__,
        "python": platform.python_version(),
    }


if __name__ == "__main__":
    main()
