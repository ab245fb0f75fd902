"""One timed training run of one contestant: `train_peers.py PEER PRESET VOCAB STEPS CONTEXT DTYPE [FOLDER]`.

Prints a JSON line with tokens per second of wall and of CPU time, the first two steps left out, and of megadocs the
attention kernel that it chose. All contestants train
a Llama of the same shape on the same random tokens, 4,096 tokens a step in windows of CONTEXT, the same compute type,
float32 weights, AdamW, gradient clipping, one thread, in a process of its own.

    megadocs       run_training
    hf-trainer     transformers.Trainer on LlamaForCausalLM, bf16=True, sdpa or eager attention, or sdpa compiled
    plain-loop     LlamaForCausalLM in a bare loop under autocast, fused AdamW: what a script without a framework does
    litgpt         litgpt.pretrain, eager or compiled (in a Python that has litgpt)
    nanogpt        nanoGPT's train.py, eager or compiled, from the checkout FOLDER
    matmul         no trainer: the rate of the model's own matrix products
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
import train_loops
from train_loops import run_litgpt, run_nanogpt

TOKENS, SKIPPED = 4096, 2
BATCH, CONTEXT, DTYPE = 16, 256, "bfloat16"  # set by main


class Clock:
    """Wall and CPU time of the steps after the first two."""

    def __init__(self) -> None:
        self.marks: list[tuple[float, float]] = []

    def step(self) -> None:
        self.marks.append((time.perf_counter(), time.process_time()))

    def report(self) -> dict[str, float]:
        (wall_0, cpu_0), (wall_1, cpu_1) = self.marks[SKIPPED - 1], self.marks[-1]
        tokens = (len(self.marks) - SKIPPED) * BATCH * CONTEXT
        return {"tokens_per_second": tokens / (wall_1 - wall_0), "tokens_per_cpu_second": tokens / (cpu_1 - cpu_0)}


def tokens_of(step: int, vocab: int) -> np.ndarray:
    return np.random.default_rng(step).integers(0, vocab, (BATCH, CONTEXT), dtype=np.int64)


def run_megadocs(preset: str, vocab: int, steps: int, clock: Clock, mode: str) -> dict[str, str | None]:
    from megadocs.recipe.training import ModelConfig, TrainConfig
    from megadocs.train import TrainingJob, run_training

    class Windows:
        num_steps = steps

        def window_ids(self, step: int) -> list[int]:
            return list(range(step * BATCH, (step + 1) * BATCH))

    def read_batch(step: int) -> tuple[np.ndarray, None]:
        if step:
            clock.step()
        return tokens_of(step, vocab), None

    def last(progress: Any) -> None:
        if progress.step == steps:
            clock.step()

    config = TrainConfig(batch_size=BATCH, context_length=CONTEXT, compile=mode == "compile", dtype=DTYPE)
    with tempfile.TemporaryDirectory() as folder:
        summary = run_training(TrainingJob(
            recipe_model=ModelConfig(preset=preset), config=config,
            mixture=Windows(), read_batch=read_batch, vocab_size=vocab, seed=0, output_dir=Path(folder), progress=last,
        ))  # fmt: skip
    return {"attention_kernel": summary.attention_kernel}


def shape_of(preset: str, vocab: int) -> Any:
    from megadocs.model.config import resolve_config
    from megadocs.recipe.training import ModelConfig

    return resolve_config(ModelConfig(preset=preset), vocab_size=vocab, context_length=CONTEXT)


def hf_model(preset: str, vocab: int, attention: str) -> torch.nn.Module:
    from transformers import LlamaConfig, LlamaForCausalLM

    shape = shape_of(preset, vocab)
    names = ("vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads",
             "num_key_value_heads", "head_dim", "max_position_embeddings", "rms_norm_eps")  # fmt: skip
    config = LlamaConfig(**{name: getattr(shape, name) for name in names}, tie_word_embeddings=False, use_cache=False)
    config._attn_implementation = attention
    torch.manual_seed(0)
    return LlamaForCausalLM(config).float()


def run_hf_trainer(preset: str, vocab: int, steps: int, clock: Clock, mode: str) -> None:
    from transformers import Trainer, TrainerCallback, TrainingArguments

    class Rows(torch.utils.data.Dataset):
        def __len__(self) -> int:
            return steps * BATCH

        def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
            row = torch.from_numpy(np.random.default_rng(index).integers(0, vocab, CONTEXT))
            return {"input_ids": row, "labels": row}

    class Marks(TrainerCallback):
        def on_step_end(self, *arguments: object, **rest: object) -> None:
            clock.step()

    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            output_dir=folder, per_device_train_batch_size=BATCH, max_steps=steps, bf16=DTYPE == "bfloat16",
            use_cpu=True,
            learning_rate=3e-3, weight_decay=0.8, max_grad_norm=1.0, optim="adamw_torch_fused",
            lr_scheduler_type="cosine", save_strategy="no", report_to=[], logging_steps=10, disable_tqdm=True,
            torch_compile=mode == "compile",
        )  # fmt: skip
        model = hf_model(preset, vocab, "sdpa" if mode == "compile" else mode)
        Trainer(model=model, args=arguments, train_dataset=Rows(), callbacks=[Marks()]).train()


def run_plain_loop(preset: str, vocab: int, steps: int, clock: Clock, attention: str) -> None:
    model = hf_model(preset, vocab, attention)
    optimiser = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=0.8, betas=(0.9, 0.95), fused=True)
    for step in range(steps):
        tokens = torch.from_numpy(tokens_of(step, vocab))
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=DTYPE == "bfloat16"):
            logits = model(input_ids=tokens).logits
        loss = torch.nn.functional.cross_entropy(logits[:, :-1].float().flatten(0, 1), tokens[:, 1:].flatten())
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        clock.step()


def matmul_rates(preset: str, vocab: int) -> dict[str, float]:
    """FLOP/s of the model's own products at a whole batch, by the clock and by CPU time, best of several."""
    from megadocs.train.throughput import matmul_shapes

    shape = shape_of(preset, vocab)
    flops, seconds, cpu_seconds = 0.0, 0.0, 0.0
    for (inputs, outputs), count in matmul_shapes(shape).items():
        x = torch.randn(BATCH * CONTEXT, inputs).to(getattr(torch, DTYPE))
        w = torch.randn(outputs, inputs).to(getattr(torch, DTYPE))
        times = []
        for _ in range(25):
            wall, cpu = time.perf_counter(), time.process_time()
            torch.nn.functional.linear(x, w)
            times.append((time.perf_counter() - wall, time.process_time() - cpu))
        flops += count * 2.0 * BATCH * CONTEXT * inputs * outputs
        seconds += count * min(wall for wall, _ in times)
        cpu_seconds += count * min(cpu for _, cpu in times)
    per_token = shape.flops_per_token(CONTEXT)
    rates = {"flops_per_second": flops / seconds, "flops_per_cpu_second": flops / cpu_seconds}
    return {**rates, "flops_per_token": per_token}


def main() -> None:
    global BATCH, CONTEXT, DTYPE
    peer, preset, vocab, steps = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
    CONTEXT, DTYPE = int(sys.argv[5]), sys.argv[6]
    BATCH = train_loops.BATCH = max(1, TOKENS // CONTEXT)
    train_loops.CONTEXT = CONTEXT
    torch.set_num_threads(1)
    clock = Clock()
    name, _, mode = peer.partition(":")
    if name == "matmul":
        print(json.dumps({"peer": peer, **matmul_rates(preset, vocab)}))
        return
    chosen: dict[str, str | None] = {}
    if name == "megadocs":
        chosen = run_megadocs(preset, vocab, steps, clock, mode)
    elif name == "hf-trainer":
        run_hf_trainer(preset, vocab, steps, clock, mode)
    elif name == "plain-loop":
        run_plain_loop(preset, vocab, steps, clock, mode)
    elif name == "litgpt":
        run_litgpt(shape_of(preset, vocab), steps, clock, mode)
    else:
        run_nanogpt(shape_of(preset, vocab), steps, clock, mode, Path(sys.argv[7]))
    print(json.dumps({"peer": peer, **chosen, **clock.report()}))


if __name__ == "__main__":
    main()
