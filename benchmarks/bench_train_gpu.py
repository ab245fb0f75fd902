"""Training speed on one CUDA GPU: `bench_train_gpu.py [OUT.json] [--preset 300m] [--context 4096] [--batch 64] [--steps
20]`.

Runs `run_training` on random tokens with torch.compile and prints tokens/s, MFU against the measured matmul rate of
the model's own shapes, MFU against the data sheet (`--peak-tflops`, 989 for an H100 SXM in bfloat16), and peak
memory. `--preset 1_5b --batch 8` shows that it trains on one 80 GB GPU. Needs a GPU; says so and exits with 2
otherwise.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

VOCAB = 128_256


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", nargs="?", type=Path)
    parser.add_argument("--preset", default="300m")
    parser.add_argument("--context", type=int, default=4096)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--micro-batch", type=int)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--peak-tflops", type=float, default=989.0)
    parser.add_argument("--no-compile", action="store_true")
    arguments = parser.parse_args()
    if not torch.cuda.is_available():
        print("no CUDA GPU is here; nothing measured", file=sys.stderr)
        sys.exit(2)
    report = measure(arguments)
    print(json.dumps(report, indent=1))
    if arguments.out:
        arguments.out.write_text(json.dumps(report, indent=1) + "\n")


def measure(arguments: argparse.Namespace) -> dict[str, object]:
    from megadocs.recipe.training import ModelConfig, TrainConfig
    from megadocs.train import run_training

    class Windows:
        num_steps = arguments.steps

        def window_ids(self, step: int) -> list[int]:
            return [step]

    times: list[float] = []
    plans = []

    def read_batch(step: int) -> tuple[np.ndarray, None]:
        torch.cuda.synchronize()
        times.append(time.perf_counter())
        generator = np.random.default_rng(step)
        return generator.integers(0, VOCAB, (arguments.batch, arguments.context), dtype=np.uint32), None

    config = TrainConfig(
        context_length=arguments.context, batch_size=arguments.batch, micro_batch_size=arguments.micro_batch,
        device="cuda", compile=not arguments.no_compile, checkpoint_minutes=1e6, log_every_steps=1,
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        run_training(
            recipe_model=ModelConfig(preset=arguments.preset), config=config, mixture=Windows(), read_batch=read_batch,
            vocab_size=VOCAB, seed=0, output_dir=Path(folder), announce=plans.append,
        )  # fmt: skip
    seconds = float(np.median(np.diff(times)[3:]))  # the first steps compile
    plan = plans[0]
    rate = arguments.batch * arguments.context / seconds
    return {
        "gpu": torch.cuda.get_device_name(),
        "versions": {"torch": torch.__version__, "cuda": torch.version.cuda, "python": platform.python_version()},
        "preset": arguments.preset,
        "context": arguments.context,
        "batch": arguments.batch,
        "micro_batch": plan.micro_batch,
        "compile": config.compile,
        "tokens_per_second": rate,
        "mfu_measured_matmul": rate * plan.flops_per_token / plan.matmul_flops_per_second,
        "mfu_peak": rate * plan.flops_per_token / (arguments.peak_tflops * 1e12),
        "matmul_tflops": plan.matmul_flops_per_second / 1e12,
        "peak_memory_gb": torch.cuda.max_memory_allocated() / 1e9,
    }


if __name__ == "__main__":
    main()
