"""How far `megadocs plan` is from the time that a run then takes: five small recipes, each planned, then run.

    python benchmarks/bench_plan.py                      # some five minutes on two cores that do nothing else
    python benchmarks/bench_plan.py --only epochs --repeats 3

Variants of the quickstart with the fake engine, 15 to 60 s each: other arms, epochs, shapes of student, batches, seeds,
held-out documents, an ensemble. Each is planned in a new workspace by the rates that the runs before it left (the first
by the table), then run there in a process of its own; predicted is the plan's time, measured the wall time of the whole
command. The summary is the median of |predicted / measured - 1|. Load while it measures makes both numbers worthless:
it is recorded, and a line says so.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[1]
#: A machine with more than this many processes waiting before the start is not quiet.
QUIET_LOAD = 0.7

SIMPLE = {"stream.ordering": "simple", "mixture.synthetic_fraction": 0.75}
STITCHED = {"stream.ordering": "stitched", "mixture.synthetic_fraction": 0.75}
THOUGHTS = {"stream.ordering": "latent_thoughts", "mixture.synthetic_fraction": 0.5}

#: Name -> what is changed of the quickstart.
VARIANTS: dict[str, dict[str, Any]] = {
    "epochs": {"arms": {"real_only": {}, "real_4x": {"mixture.real_multiple": 4}}, "seeds": [0, 1]},
    "orderings": {
        "arms": {"real_only": {}, "simple": SIMPLE, "stitched": STITCHED, "latent_thoughts": THOUGHTS},
        "train": {"real_epochs": 8},
        "seeds": [0, 1],
    },
    "wide": {
        "arms": {"real_only": {}, "simple": SIMPLE},
        "model": {"hidden_size": 128, "intermediate_size": 352, "num_hidden_layers": 3},
        "train": {"batch_size": 8, "real_epochs": 12},
        "seeds": [0],
    },
    "held_out": {
        "arms": {"real_only": {}},
        "corpus": {"split": {"validation": 900, "test": 900}},
        "seeds": [0, 1, 2, 3],
    },
    "ensemble": {
        "arms": {"real_only": {}, "real_2x": {"mixture.real_multiple": 2}},
        "train": {"context_length": 128, "real_epochs": 8},
        "ensembles": {"four": {"arm": "real_only", "num_members": 4}},
        "seeds": [0, 1],
    },
}


def merged(base: dict[str, Any], top: dict[str, Any]) -> dict[str, Any]:
    """`top` over `base`, mapping by mapping; arms replace."""
    out = dict(base)
    for key, value in top.items():
        below = out.get(key)
        is_nested = isinstance(value, dict) and isinstance(below, dict) and key != "arms"
        out[key] = merged(below, value) if is_nested else value
    return out


def write_recipe(name: str, folder: Path) -> Path:
    """The variant as a recipe of its own."""
    quickstart = yaml.safe_load((ROOT / "recipes" / "quickstart.yaml").read_text())
    quickstart["generate"]["engine"] = {"kind": "fake", "model": "fake", "concurrency": 4}
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump(merged(quickstart, VARIANTS[name] | {"name": name}), sort_keys=False))
    return path


def megadocs(*words: object) -> subprocess.CompletedProcess[str]:
    """The command in a process of its own; its error ends the benchmark."""
    done = subprocess.run(
        [sys.executable, "-m", "megadocs", *map(str, words)], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(f"megadocs {words[0]} failed:\n{done.stderr}")
    return done


def measure(name: str, folder: Path) -> dict[str, Any]:
    """Plan one variant, then run it."""
    recipe, workspace = write_recipe(name, folder), folder / name
    load_before = os.getloadavg()[0]
    plan = json.loads(megadocs("plan", recipe, "--workspace", workspace, "--json").stdout)
    begun = time.perf_counter()
    megadocs("run", recipe, "--workspace", workspace)
    measured = time.perf_counter() - begun
    kinds: dict[str, dict[str, float]] = {}
    for line in plan["lines"]:
        kinds.setdefault(line["kind"], {"predicted": 0.0, "measured": 0.0})["predicted"] += line["seconds"]
    for path in workspace.glob("*/*/record.json"):
        record = json.loads(path.read_text())
        kinds.setdefault(record["step"], {"predicted": 0.0, "measured": 0.0})["measured"] += record["seconds"]
    return {
        "name": name,
        "predicted_seconds": plan["seconds"],
        "measured_seconds": measured,
        "ratio": plan["seconds"] / measured,
        "rates": plan["rates"],
        "load_before": load_before,
        "seconds_by_kind": kinds,
    }


def print_result(result: dict[str, Any], *, is_detailed: bool) -> None:
    """One line; with details one more for each kind of step."""
    times = f"predicted {result['predicted_seconds']:6.1f} s   measured {result['measured_seconds']:6.1f} s"
    about = f"(rates: {result['rates']}, load {result['load_before']:.1f})"
    print(f"{result['name']:12} {times}   ratio {result['ratio']:.2f}   {about}", flush=True)
    for kind, seconds in result["seconds_by_kind"].items() if is_detailed else ():
        print(f"    {kind:10} predicted {seconds['predicted']:6.1f} s   measured {seconds['measured']:6.1f} s")


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=list(VARIANTS), default=list(VARIANTS))
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--details", action="store_true", help="seconds of each kind of step, summed over steps")
    parser.add_argument("--output", type=Path, default=ROOT / "benchmarks" / "results" / "plan.json")
    args = parser.parse_args()
    results = []
    cache = tempfile.TemporaryDirectory(prefix="bench-plan-cache-")
    os.environ["MEGADOCS_CACHE_DIR"] = cache.name  # what earlier runs left on this machine takes no part
    for _ in range(args.repeats):
        for name in args.only:
            with tempfile.TemporaryDirectory(prefix="bench-plan-") as folder:
                results.append(measure(name, Path(folder)))
            print_result(results[-1], is_detailed=args.details)
    errors = [abs(result["ratio"] - 1) for result in results]
    summary = {"median_error": statistics.median(errors), "largest_error": max(errors)}
    print(
        f"median error {summary['median_error']:.1%}, largest {summary['largest_error']:.1%} (aim: median within 20 %)"
    )
    busiest = max(result["load_before"] for result in results[:1])
    if busiest > QUIET_LOAD:
        print(f"load {busiest:.1f} before the start: the machine was not quiet, these numbers say little")
    machine = {"machine": platform.machine(), "cores": len(os.sched_getaffinity(0))}
    args.output.parent.mkdir(parents=True, exist_ok=True)
    args.output.write_text(json.dumps({"machine": machine, **summary, "results": results}, indent=1) + "\n")


if __name__ == "__main__":
    main()
