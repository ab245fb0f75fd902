"""Training speed on one CUDA GPU: `bench_train_gpu.py [OUT.json] [--preset 300m] [--context 4096] [--batch 64]`.

Runs `run_training` on random tokens with compiled layers and prints tokens/s, MFU against the measured matmul rate of
the model's own shapes, MFU against the data sheet (`--peak-tflops`, 989 for an H100 SXM in bfloat16), the micro-batch
that was found, and peak memory. A step's time is the median after the first three, which compile. On a GPU:

    bench_train_gpu.py h100_300m.json                                    # the paper's largest grid size
    bench_train_gpu.py h100_300m_eager.json --no-compile
    bench_train_gpu.py h100_1_5b.json --preset 1_5b --batch 8 --steps 8  # fits in 80 GB: read peak_memory_gb
    bench_train_gpu.py peers.json --peer torchtitan DIR 'COMMAND' 'tps: ([0-9,.]+)'

`--peer NAME DIR COMMAND PATTERN` runs another trainer of the same shape between two runs of ours: COMMAND in DIR, each
match of PATTERN's group in its output is a rate in tokens/s, the median of the last half counts. Their flags change
with their versions, so the command is the caller's; the report keeps it. `--tiny` runs all of it in seconds, on a CPU
where there is no GPU: it shows that the script works, its figures mean nothing.
"""

from __future__ import annotations

import argparse
import json
import platform
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

TINY = {"preset": "tiny", "context": 128, "batch": 4, "steps": 6, "vocab": 512}


def main() -> None:
    arguments = parse()
    if not torch.cuda.is_available() and not arguments.tiny:
        print("no CUDA GPU is here; nothing measured (--tiny runs the script on a CPU)", file=sys.stderr)
        sys.exit(2)
    report: dict[str, Any] = {
        "machine": torch.cuda.get_device_name() if torch.cuda.is_available() else f"CPU {platform.machine()}",
        "versions": {"torch": torch.__version__, "cuda": torch.version.cuda, "python": platform.python_version()},
        "shape": {name: getattr(arguments, name) for name in ("preset", "context", "batch", "vocab", "steps")},
        "is_tiny": arguments.tiny,
        "megadocs": [measure(arguments)],
        "peers": [measure_peer(*peer) for peer in arguments.peer],
    }
    if report["peers"]:
        report["megadocs"].append(measure(arguments))
    print(json.dumps(report, indent=1))
    if arguments.out:
        arguments.out.write_text(json.dumps(report, indent=1) + "\n")


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", nargs="?", type=Path)
    parser.add_argument("--preset", default="300m")
    parser.add_argument("--context", type=int, default=4096)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--vocab", type=int, default=128_256)
    parser.add_argument("--micro-batch", type=int)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--peak-tflops", type=float, default=989.0)
    parser.add_argument("--no-compile", action="store_true")
    parser.add_argument("--tiny", action="store_true")
    parser.add_argument("--peer", nargs=4, action="append", default=[], metavar=("NAME", "DIR", "COMMAND", "PATTERN"))
    arguments = parser.parse_args()
    if arguments.tiny:
        vars(arguments).update(TINY)
    if arguments.steps < 5:
        parser.error("--steps: at least 5, the first three are not counted")
    return arguments


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    from megadocs.recipe.training import ModelConfig, TrainConfig
    from megadocs.train import TrainingJob, run_training

    class Windows:
        num_steps = arguments.steps

        def window_ids(self, step: int) -> list[int]:
            return [step]

    times: list[float] = []
    plans: list[Any] = []
    generator = np.random.default_rng(0)
    tokens = generator.integers(0, arguments.vocab, (arguments.batch, arguments.context), dtype=np.uint32)

    def read_batch(step: int) -> tuple[np.ndarray, None]:
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        times.append(time.perf_counter())
        return np.roll(tokens, step, axis=1), None  # drawing a batch of 262,144 would take longer than reading one

    config = TrainConfig(
        context_length=arguments.context, batch_size=arguments.batch, micro_batch_size=arguments.micro_batch,
        compile=not arguments.no_compile, checkpoint_minutes=1e5, log_every_steps=1,
    )  # fmt: skip
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    with tempfile.TemporaryDirectory() as folder:
        summary = run_training(TrainingJob(
            recipe_model=ModelConfig(preset=arguments.preset), config=config, mixture=Windows(), read_batch=read_batch,
            vocab_size=arguments.vocab, seed=0, output_dir=Path(folder), announce=plans.append,
        ))  # fmt: skip
    seconds = float(np.median(np.diff(times)[3:]))
    (plan,) = plans
    rate = arguments.batch * arguments.context / seconds
    return {
        "micro_batch": plan.micro_batch,
        "compile": config.compile,
        "num_parameters": summary.num_parameters,
        "tokens_per_second": rate,
        "mfu_measured_matmul": rate * plan.flops_per_token / plan.matmul_flops_per_second,
        "mfu_peak": rate * plan.flops_per_token / (arguments.peak_tflops * 1e12),
        "matmul_tflops": plan.matmul_flops_per_second / 1e12,
        "first_steps_seconds": [round(float(step), 2) for step in np.diff(times)[:3]],
        "peak_memory_gb": torch.cuda.max_memory_allocated() / 1e9 if torch.cuda.is_available() else None,
    }


def measure_peer(name: str, directory: str, command: str, pattern: str) -> dict[str, Any]:
    done = subprocess.run(
        command, shell=True, cwd=directory, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    rates = [float(rate.replace(",", "")) for rate in re.findall(pattern, done.stdout)]
    result: dict[str, Any] = {"name": name, "command": command, "exit_code": done.returncode, "num_rates": len(rates)}
    if done.returncode or not rates:
        return result | {"tokens_per_second": None, "output_tail": done.stdout[-2000:]}
    return result | {"tokens_per_second": statistics.median(rates[len(rates) // 2 :])}


if __name__ == "__main__":
    main()
