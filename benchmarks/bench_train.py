"""Training speed against Hugging Face's Trainer and a bare loop, interleaved: `bench_train.py [OUT.json] [--rounds 3]`.

Each contestant runs in a process of its own with one thread; rounds go through all contestants in turn, so that a
busy neighbour hits all alike; medians, spread, and the same by CPU time, which a shared machine disturbs less. The
JSON has hardware and versions.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
from pathlib import Path

PEERS = ("megadocs", "hf-trainer:sdpa", "hf-trainer:eager", "plain-loop:sdpa", "plain-loop:eager")
SIZES = (("tiny", 2048, 22), ("20m", 8192, 7))


def run_once(peer: str, preset: str, vocab: int, steps: int) -> dict[str, float]:
    script = Path(__file__).with_name("train_peers.py")
    environment = os.environ | {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    result = subprocess.run(
        [sys.executable, str(script), peer, preset, str(vocab), str(steps)],
        capture_output=True, text=True, env=environment, check=True,
    )  # fmt: skip
    return json.loads(result.stdout.strip().splitlines()[-1])


def hardware() -> dict[str, object]:
    import torch
    import transformers

    lines = Path("/proc/cpuinfo").read_text().splitlines()
    cpu = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.processor())
    versions = {
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "python": platform.python_version(),
    }
    return {"cpu": cpu, "cores": os.cpu_count(), "capability": torch.backends.cpu.get_cpu_capability(), **versions}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", nargs="?", type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--sizes", nargs="*", default=[size[0] for size in SIZES])
    arguments = parser.parse_args()
    report: dict[str, object] = {"hardware": hardware(), "batch": 16, "context": 256, "threads": 1, "dtype": "bfloat16"}
    for preset, vocab, steps in SIZES:
        if preset not in arguments.sizes:
            continue
        runs = {peer: [] for peer in PEERS}
        for _ in range(arguments.rounds):
            for peer in PEERS:
                runs[peer].append(run_once(peer, preset, vocab, steps))
        table = {}
        for peer, results in runs.items():
            table[peer] = {"load_average": os.getloadavg()[0]}
            for key in ("tokens_per_second", "tokens_per_cpu_second"):
                values = [result[key] for result in results]
                table[peer][key] = {"median": statistics.median(values), "min": min(values), "max": max(values)}
        report[preset] = table
        ours = table["megadocs"]["tokens_per_cpu_second"]["median"]
        for peer in PEERS:
            value = table[peer]["tokens_per_cpu_second"]["median"]
            wall = table[peer]["tokens_per_second"]["median"]
            print(
                f"{preset:5} {peer:18} {wall:9.0f} tokens/s {value:9.0f} per CPU second, megadocs x {ours / value:.2f}"
            )
    if arguments.out:
        arguments.out.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
