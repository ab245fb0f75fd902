"""A training step of ours beside the same step of transformers' Llama, in one process: `bench_step.py [OUT.json]`.

    bench_step.py out.json --sizes tiny --contexts 256 1024 4096 --rounds 3

Forward, loss, backward, clipping and a fused AdamW step on the same 4,096 random tokens in windows of each context,
one thread, the contestants in turn; medians of processor seconds. Ours computes in the type that `train.dtype: auto`
takes here; transformers in both, with sdpa and eager attention (its Trainer adds to such a step). What no other
process is started for, a busy machine disturbs less than `bench_train.py`. `share_of_matmul_rate` is the FLOPs of the
step (`LlamaConfig.flops_per_token`: causal attention counted once) over the measured rate of its own products.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import train_peers
from bench_train import SIZES, hardware
from torch.nn.utils import clip_grad_norm_

from megadocs.machine import processor_name, resolve_dtype
from megadocs.model.attention_choice import choose_kernel
from megadocs.model.llama import build_model
from megadocs.model.memory import freed_memory_kept
from megadocs.recipe.training import ModelConfig, TrainConfig
from megadocs.train.optimiser import build_optimiser

TOKENS = 4096
Step = Callable[[], None]


def our_step(preset: str, vocab: int, tokens: torch.Tensor, dtype: str) -> tuple[Step, Any]:
    rows, length = tokens.shape
    model = build_model(ModelConfig(preset=preset), vocab, length, 0)
    model.compute_dtype = getattr(torch, dtype)
    model.attention_kernel = choose_kernel(model.config, length=length, dtype=model.compute_dtype)
    optimiser, parameters = build_optimiser(model, TrainConfig()), list(model.parameters())

    def step() -> None:
        model(tokens, loss_scale=1 / (rows * (length - 1))).backward()
        clip_grad_norm_(parameters, 1.0)
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)

    return step, model


def their_step(preset: str, vocab: int, tokens: torch.Tensor, dtype: str, attention: str) -> Step:
    model = train_peers.hf_model(preset, vocab, attention)
    optimiser = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=0.8, betas=(0.9, 0.95), fused=True)
    is_mixed = dtype == "bfloat16"

    def step() -> None:
        with torch.autocast("cpu", dtype=torch.bfloat16) if is_mixed else contextlib.nullcontext():
            logits = model(input_ids=tokens).logits
        loss = torch.nn.functional.cross_entropy(logits[:, :-1].float().flatten(0, 1), tokens[:, 1:].flatten())
        loss.backward()
        clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)

    return step


def measure(preset: str, vocab: int, context: int, rounds: int) -> dict[str, Any]:
    batch, dtype = max(1, TOKENS // context), resolve_dtype("auto", "cpu")
    train_peers.BATCH, train_peers.CONTEXT, train_peers.DTYPE = batch, context, dtype
    tokens = torch.from_numpy(np.random.default_rng(0).integers(0, vocab, (batch, context)))
    ours, model = our_step(preset, vocab, tokens, dtype)
    steps = {"megadocs": ours}
    for attention in ("sdpa", "eager"):
        for theirs in ("float32", "bfloat16"):
            steps[f"transformers {attention} {theirs}"] = their_step(preset, vocab, tokens, theirs, attention)
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(rounds + 1):  # the first one warms up
        for name, step in steps.items():
            before = time.process_time()
            step()
            seconds[name].append(time.process_time() - before)
    medians = {name: statistics.median(times[1:]) for name, times in seconds.items()}
    matmul = train_peers.matmul_rates(preset, vocab)
    rate = tokens.numel() * matmul["flops_per_token"] / medians["megadocs"]
    return {
        "dtype": dtype,
        "attention_kernel": model.attention_kernel,
        "load_average": os.getloadavg()[0],
        "tokens_per_cpu_second": {name: tokens.numel() / median for name, median in medians.items()},
        "megadocs_over": {name: median / medians["megadocs"] for name, median in medians.items()},
        "share_of_matmul_rate": rate / matmul["flops_per_cpu_second"],
        "seconds": {name: times[1:] for name, times in seconds.items()},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", nargs="?", type=Path)
    parser.add_argument("--sizes", nargs="*", default=["tiny"], choices=[name for name, *_ in SIZES])
    parser.add_argument("--contexts", nargs="*", type=int, default=[256, 1024])
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    report: dict[str, Any] = {"hardware": hardware() | {"cpu": processor_name()}, "tokens_per_step": TOKENS}
    with freed_memory_kept():
        for preset, vocab, _ in SIZES:
            for context in arguments.contexts if preset in arguments.sizes else ():
                result = measure(preset, vocab, context, arguments.rounds)
                report.setdefault(preset, {})[str(context)] = result
                ratios = {name: round(ratio, 2) for name, ratio in result["megadocs_over"].items()}
                print(
                    f"{preset} {context}: share {result['share_of_matmul_rate']:.1%}, megadocs x {ratios}", flush=True
                )
                if arguments.out:
                    arguments.out.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
