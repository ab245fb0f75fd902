"""litgpt's and nanoGPT's own training loops, timed for `train_peers.py`: nothing of theirs is copied or changed.

    run_litgpt(shape, steps, clock, "eager")            # litgpt.pretrain.setup, precision bf16-mixed
    run_nanogpt(shape, steps, clock, "eager", folder)   # train.py of a checkout, as `python train.py --...`

Same depth, width, heads, vocabulary, batch, context and random tokens as everyone else's. Where they differ is their
own: litgpt compiles always (`eager` makes `torch.compile` do nothing), its AdamW is not fused on a CPU; nanoGPT is a
GPT-2 (LayerNorm, GELU of four times the width, learned positions, tied head: the same products at 20m, 3 % fewer in the
feed-forward at tiny), and has no autocast on a CPU, so its null context is replaced by one in bfloat16.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import pickle
import runpy
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch

BATCH, CONTEXT = 16, 256


def run_litgpt(shape: Any, steps: int, clock: Any, mode: str) -> None:
    from litgpt import pretrain
    from litgpt.args import EvalArgs, TrainArgs
    from litgpt.config import Config
    from litgpt.data import DataModule

    class Batches(torch.utils.data.IterableDataset):
        def __init__(self, marks: bool) -> None:
            self.marks = marks

        def __iter__(self) -> Any:
            for step in range(steps + 1):
                if self.marks and step:
                    clock.step()
                generator = np.random.default_rng(step)
                yield torch.from_numpy(generator.integers(0, shape.vocab_size, (BATCH, CONTEXT + 1), dtype=np.int64))

    class RandomTokens(DataModule):
        def connect(self, *arguments: Any, **options: Any) -> None:
            pass

        def train_dataloader(self) -> Any:
            return torch.utils.data.DataLoader(Batches(True), batch_size=None)

        def val_dataloader(self) -> Any:
            return torch.utils.data.DataLoader(Batches(False), batch_size=None)

    config = Config(
        name="bench", block_size=CONTEXT, n_layer=shape.num_hidden_layers, n_head=shape.num_attention_heads,
        n_embd=shape.hidden_size, head_size=shape.head_dim, padded_vocab_size=shape.vocab_size,
        vocab_size=shape.vocab_size, norm_class_name="RMSNorm", norm_eps=shape.rms_norm_eps,
        mlp_class_name="LLaMAMLP", intermediate_size=shape.intermediate_size, bias=False, parallel_residual=False,
        rotary_percentage=1.0,
    )  # fmt: skip
    pretrain.save_checkpoint = lambda *arguments, **options: None  # after the last step: not timed anyway
    if mode == "eager":
        torch.compile = lambda model, *arguments, **options: model
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(sys.stderr):
        pretrain.setup(
            "bench", model_config=config, out_dir=Path(folder), precision="bf16-mixed", data=RandomTokens(), devices=1,
            train=TrainArgs(
                save_interval=None, log_interval=10, global_batch_size=BATCH, micro_batch_size=BATCH,
                max_tokens=steps * BATCH * CONTEXT, max_norm=1.0, min_lr=1e-5, lr_warmup_steps=1,
            ),
            eval=EvalArgs(interval=10**9, max_iters=1, initial_validation=False, final_validation=False),
            optimizer={
                "class_path": "torch.optim.AdamW",
                "init_args": {"lr": 3e-3, "weight_decay": 0.8, "betas": (0.9, 0.95)},
            },
            logger_name="csv",
        )  # fmt: skip


def run_nanogpt(shape: Any, steps: int, clock: Any, mode: str, checkout: Path) -> None:
    zero_grad = torch.optim.AdamW.zero_grad

    def marked(self: Any, *arguments: Any, **options: Any) -> None:
        zero_grad(self, *arguments, **options)
        clock.step()  # the loop's last act of a step

    torch.optim.AdamW.zero_grad = marked
    importlib.import_module("torch._dynamo")  # has its own use for null contexts: before they are replaced
    contextlib.nullcontext = lambda: torch.autocast("cpu", dtype=torch.bfloat16)
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder)
        tokens = np.random.default_rng(0).integers(0, shape.vocab_size, 1_000_000, dtype=np.uint16)
        for split in ("train", "val"):
            tokens.tofile(data / f"{split}.bin")
        (data / "meta.pkl").write_bytes(pickle.dumps({"vocab_size": shape.vocab_size}))
        options = {
            "device": "cpu", "compile": mode == "compile", "dataset": str(data), "out_dir": str(data / "out"),
            "eval_interval": 10**9, "eval_iters": 1, "log_interval": 10, "gradient_accumulation_steps": 1,
            "batch_size": BATCH, "block_size": CONTEXT, "n_layer": shape.num_hidden_layers,
            "n_head": shape.num_attention_heads, "n_embd": shape.hidden_size, "learning_rate": 3e-3,
            "weight_decay": 0.8, "warmup_iters": 1, "max_iters": steps - 1,
            "lr_decay_iters": steps, "dtype": "bfloat16",
        }  # fmt: skip
        sys.argv = ["train.py", *(f"--{name}={value}" for name, value in options.items())]
        sys.path.insert(0, str(checkout))
        os.chdir(checkout)
        with contextlib.redirect_stdout(sys.stderr):
            runpy.run_path("train.py", run_name="__main__")
