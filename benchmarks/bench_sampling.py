"""Sampling speed against transformers' `generate`: `bench_sampling.py [OUT.json] [--sizes tiny 20m] [--rounds 2]`.

256 new tokens from prompts of 16, batch 1, 16, 64, bfloat16, one thread, interleaved. CPU seconds are reported beside
wall seconds.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch

NEW_TOKENS, PROMPT = 256, 16
VOCABULARIES = {"tiny": 2048, "20m": 8192}


def timed(function: Callable[[], object]) -> tuple[float, float]:
    wall, cpu = time.perf_counter(), time.process_time()
    function()
    return time.perf_counter() - wall, time.process_time() - cpu


def measure(preset: str, batch: int, rounds: int) -> dict[str, float]:
    from transformers import LlamaForCausalLM

    from megadocs.model import build_model, export_hf
    from megadocs.model.sampling import sample
    from megadocs.recipe.training import ModelConfig

    vocab = VOCABULARIES[preset]
    model = build_model(ModelConfig(preset=preset), vocab, 512, seed=0)
    model.compute_dtype = torch.bfloat16
    with tempfile.TemporaryDirectory() as folder:
        export_hf(model, Path(folder) / "m")
        reference = LlamaForCausalLM.from_pretrained(Path(folder) / "m", dtype=torch.bfloat16).eval()
    prompts = torch.randint(0, vocab, (batch, PROMPT))

    def ours() -> None:
        sample(model, prompts.tolist(), max_new_tokens=NEW_TOKENS, seeds=range(batch))

    def theirs() -> None:
        with torch.inference_mode():
            reference.generate(
                prompts, max_new_tokens=NEW_TOKENS, min_new_tokens=NEW_TOKENS, do_sample=True, top_k=0, pad_token_id=0,
                attention_mask=torch.ones_like(prompts),
            )  # fmt: skip

    ours(), theirs()  # warm
    times: dict[str, list[tuple[float, float]]] = {"ours": [], "theirs": []}
    for _ in range(rounds):
        times["ours"].append(timed(ours))
        times["theirs"].append(timed(theirs))
    tokens = batch * NEW_TOKENS
    report = {}
    for name, values in times.items():
        report[f"{name}_tokens_per_second"] = tokens / statistics.median(wall for wall, _ in values)
        report[f"{name}_tokens_per_cpu_second"] = tokens / statistics.median(cpu for _, cpu in values)
    report["speedup_cpu"] = report["ours_tokens_per_cpu_second"] / report["theirs_tokens_per_cpu_second"]
    return report


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", nargs="?", type=Path)
    parser.add_argument("--sizes", nargs="*", default=["tiny", "20m"])
    parser.add_argument("--batches", nargs="*", type=int, default=[1, 16, 64])
    parser.add_argument("--rounds", type=int, default=2)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    report = {}
    for preset in arguments.sizes:
        for batch in arguments.batches:
            report[f"{preset} x {batch}"] = measure(preset, batch, arguments.rounds)
            print(
                preset,
                batch,
                {key: round(value, 1) for key, value in report[f"{preset} x {batch}"].items()},
                flush=True,
            )
    if arguments.out:
        arguments.out.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
