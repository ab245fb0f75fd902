"""One timed training run of one contestant, in a process of its own: `train_peers.py PEER PRESET VOCAB STEPS`.

Prints a JSON line with tokens per second of wall and of CPU time, the first two steps left out. All contestants train
a Llama of the same shape on the same random tokens, batch 16 x 256, bfloat16 compute, float32 weights, AdamW,
gradient clipping, one thread.

    megadocs       run_training
    hf-trainer     transformers.Trainer on LlamaForCausalLM, bf16=True, sdpa or eager attention
    plain-loop     LlamaForCausalLM in a bare loop under autocast, fused AdamW: what a script without a framework does
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

BATCH, CONTEXT, SKIPPED = 16, 256, 2


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


def run_megadocs(preset: str, vocab: int, steps: int, clock: Clock) -> None:
    from megadocs.recipe.training import ModelConfig, TrainConfig
    from megadocs.train import run_training

    class Windows:
        num_steps = steps

        def window_ids(self, step: int) -> list[int]:
            return list(range(step * BATCH, (step + 1) * BATCH))

    def read_batch(step: int) -> tuple[np.ndarray, None]:
        if step:
            clock.step()
        return tokens_of(step, vocab), None

    def last(progress: object) -> None:
        if progress.step == steps:
            clock.step()

    with tempfile.TemporaryDirectory() as folder:
        run_training(
            recipe_model=ModelConfig(preset=preset), config=TrainConfig(batch_size=BATCH, context_length=CONTEXT),
            mixture=Windows(), read_batch=read_batch, vocab_size=vocab, seed=0, output_dir=Path(folder), progress=last,
        )  # fmt: skip


def hf_model(preset: str, vocab: int, attention: str) -> torch.nn.Module:
    from transformers import LlamaConfig, LlamaForCausalLM

    from megadocs.model.config import resolve_config
    from megadocs.recipe.training import ModelConfig

    shape = resolve_config(ModelConfig(preset=preset), vocab_size=vocab, context_length=CONTEXT)
    names = ("vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads",
             "num_key_value_heads", "head_dim", "max_position_embeddings", "rms_norm_eps")  # fmt: skip
    config = LlamaConfig(**{name: getattr(shape, name) for name in names}, tie_word_embeddings=False, use_cache=False)
    config._attn_implementation = attention
    torch.manual_seed(0)
    return LlamaForCausalLM(config).float()


def run_hf_trainer(preset: str, vocab: int, steps: int, clock: Clock, attention: str) -> None:
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
            output_dir=folder, per_device_train_batch_size=BATCH, max_steps=steps, bf16=True, use_cpu=True,
            learning_rate=3e-3, weight_decay=0.8, max_grad_norm=1.0, optim="adamw_torch_fused",
            lr_scheduler_type="cosine", save_strategy="no", report_to=[], logging_steps=10, disable_tqdm=True,
        )  # fmt: skip
        model = hf_model(preset, vocab, attention)
        Trainer(model=model, args=arguments, train_dataset=Rows(), callbacks=[Marks()]).train()


def run_plain_loop(preset: str, vocab: int, steps: int, clock: Clock, attention: str) -> None:
    model = hf_model(preset, vocab, attention)
    optimiser = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=0.8, betas=(0.9, 0.95), fused=True)
    for step in range(steps):
        tokens = torch.from_numpy(tokens_of(step, vocab))
        with torch.autocast("cpu", dtype=torch.bfloat16):
            logits = model(input_ids=tokens).logits
        loss = torch.nn.functional.cross_entropy(logits[:, :-1].float().flatten(0, 1), tokens[:, 1:].flatten())
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        clock.step()


def main() -> None:
    peer, preset, vocab, steps = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
    torch.set_num_threads(1)
    clock = Clock()
    name, _, attention = peer.partition(":")
    if name == "megadocs":
        run_megadocs(preset, vocab, steps, clock)
    elif name == "hf-trainer":
        run_hf_trainer(preset, vocab, steps, clock, attention)
    else:
        run_plain_loop(preset, vocab, steps, clock, attention)
    print(json.dumps({"peer": peer, **clock.report()}))


if __name__ == "__main__":
    main()
