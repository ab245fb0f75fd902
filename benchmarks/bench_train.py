"""Training speed against other trainers, interleaved: `bench_train.py [OUT.json] [--rounds 3] [--sizes tiny 20m]`.

    bench_train.py out.json --litgpt /envs/litgpt/bin/python --nanogpt ~/nanoGPT --compiled

Windows of `--contexts` tokens, 4,096 tokens a step, in the compute type that is the faster one on this processor (or
`--dtype`; litgpt and nanoGPT always in bfloat16). Each contestant runs in a process of its own with one thread; rounds
go through all contestants in turn, so that a busy neighbour hits all alike; medians, spread, and the same by CPU time,
which a shared machine disturbs less. Every round also measures the rate of the model's own matrix products:
`share_of_matmul_rate` is the FLOPs of megadocs' steps (6 x parameters without the input embedding, plus causal
attention) over it. litgpt runs in a Python that has it, nanoGPT from a checkout; `--compiled` adds what torch.compile
makes of megadocs, the Trainer, litgpt and nanoGPT. The JSON has hardware and versions; a shape measured anew takes the
place of the one in OUT.json, other shapes stay, so that a long comparison can be made in parts on one machine.
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
from typing import Any

from megadocs.machine import resolve_dtype

PEERS = ("megadocs", "hf-trainer:sdpa", "hf-trainer:eager", "plain-loop:sdpa", "plain-loop:eager")
SIZES = (("tiny", 2048, 22), ("20m", 8192, 7))


def contestants(arguments: argparse.Namespace) -> list[str]:
    peers = [*PEERS]
    for name in ("litgpt", "nanogpt"):
        peers += [f"{name}:eager"] if getattr(arguments, name) else []
        peers += [f"{name}:compile"] if getattr(arguments, name) and arguments.compiled else []
    return peers + (["megadocs:compile", "hf-trainer:compile"] if arguments.compiled else [])


def run_once(
    peer: str, preset: str, vocab: int, steps: int, context: int, arguments: argparse.Namespace
) -> dict[str, Any]:
    script = Path(__file__).with_name("train_peers.py")
    source = str(script.parents[1] / "src")
    environment = os.environ | {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "PYTHONPATH": source}
    python = arguments.litgpt if peer.startswith("litgpt") else sys.executable
    command = [python, str(script), peer, preset, str(vocab), str(steps), str(context), arguments.dtype]
    command.append(str(arguments.nanogpt or ""))
    result = subprocess.run(command, capture_output=True, text=True, env=environment)
    if result.returncode:
        sys.exit(f"{peer} failed:\n{result.stderr[-3000:]}")
    answer: dict[str, Any] = json.loads(result.stdout.strip().splitlines()[-1])
    return answer


def hardware() -> dict[str, object]:
    import torch
    import transformers

    from megadocs.machine import processor_name

    versions = {
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "python": platform.python_version(),
    }
    return {
        "cpu": processor_name(),
        "cores": os.cpu_count(),
        "capability": torch.backends.cpu.get_cpu_capability(),
        **versions,
    }


def peer_versions(arguments: argparse.Namespace) -> dict[str, str]:
    """What litgpt and nanoGPT are, where they take part."""
    found = {}
    if arguments.litgpt:
        code = "from importlib.metadata import version; print(version('litgpt'), 'with torch', version('torch'))"
        found["litgpt"] = subprocess.check_output([arguments.litgpt, "-c", code], text=True).strip()
    if arguments.nanogpt:
        command = ["git", "-C", str(arguments.nanogpt), "rev-parse", "--short", "HEAD"]
        found["nanogpt"] = subprocess.check_output(command, text=True).strip()
    return found


def table_of(name: str, runs: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
    """Medians and spread of every contestant, and megadocs' ratio to each; printed as well."""
    table: dict[str, Any] = {"load_average": os.getloadavg()[0]}
    medians = {}
    for peer, results in runs.items():
        rows = {
            key: [result[key] for result in results] for key in results[0] if key not in ("peer", "attention_kernel")
        }
        table[peer] = {
            key: {"median": statistics.median(values), "min": min(values), "max": max(values)}
            for key, values in rows.items()
        }
        if "attention_kernel" in results[0]:
            table[peer]["attention_kernel"] = sorted({str(result["attention_kernel"]) for result in results})
        medians[peer] = {key: statistics.median(values) for key, values in rows.items()}
    ours, matmul = medians.get("megadocs"), medians.pop("matmul")
    if ours is not None:
        share = ours["tokens_per_second"] * matmul["flops_per_token"] / matmul["flops_per_second"]
        cpu = ours["tokens_per_cpu_second"] * matmul["flops_per_token"] / matmul["flops_per_cpu_second"]
        table["share_of_matmul_rate"] = {"by_the_clock": share, "by_cpu_time": cpu}
        print(f"{name:10} megadocs reaches {share:.1%} of the matmul rate ({cpu:.1%} by CPU time)")
    for peer, values in medians.items():
        ratio = f"megadocs x {ours['tokens_per_cpu_second'] / values['tokens_per_cpu_second']:.2f}" if ours else ""
        wall, per_cpu = values["tokens_per_second"], values["tokens_per_cpu_second"]
        print(f"{name:10} {peer:18} {wall:9.0f} tokens/s {per_cpu:9.0f} per CPU second, {ratio}", flush=True)
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", nargs="?", type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--sizes", nargs="*", default=[size[0] for size in SIZES])
    parser.add_argument("--litgpt", metavar="PYTHON", help="a Python that has litgpt")
    parser.add_argument("--nanogpt", metavar="DIR", type=Path, help="a checkout of karpathy/nanoGPT")
    parser.add_argument("--compiled", action="store_true")
    parser.add_argument("--contexts", nargs="*", type=int, default=[256])
    parser.add_argument("--steps", type=int, help="of each contestant; the first two are not counted")
    parser.add_argument("--dtype", choices=["bfloat16", "float32"], default=resolve_dtype("auto", "cpu"))
    parser.add_argument("--peers", nargs="*", help="these contestants only")
    arguments = parser.parse_args()
    peers = arguments.peers or contestants(arguments)
    report: dict[str, Any] = {
        "hardware": hardware() | peer_versions(arguments),
        "tokens_per_step": 4096,
        "threads": 1,
        "dtype": arguments.dtype,
    }
    if arguments.out and arguments.out.exists():
        before = json.loads(arguments.out.read_text())
        if any(before[name] != report[name] for name in report):
            sys.exit(f"{arguments.out} is of another machine, of other versions or settings: choose another file")
        report = before
    for preset, vocab, steps in SIZES:
        if preset not in arguments.sizes:
            continue
        sizes = report.setdefault(preset, {})
        for context in arguments.contexts:
            runs: dict[str, list[dict[str, Any]]] = {peer: [] for peer in [*peers, "matmul"]}
            for _ in range(arguments.rounds):
                for peer in runs:
                    runs[peer].append(run_once(peer, preset, vocab, arguments.steps or steps, context, arguments))
            sizes[str(context)] = table_of(f"{preset} {context}", runs)
            if arguments.out:
                arguments.out.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
