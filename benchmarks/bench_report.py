"""Analysis and report of 1,000 runs: seconds and bytes.

    python benchmarks/bench_report.py --runs 1000 --output report.json

Builds a made-up experiment (200 arms x 5 seeds, 300 documents, two sets, two modes, 300 logged steps per run, 6 sample
documents), analyses it and writes the page twice. Targets: page in under 20 s, under 5 MB, the same bytes twice.
"""

from __future__ import annotations

import argparse
import json
import math
import platform
import resource
import time
from pathlib import Path
from typing import Any

import numpy as np
import scipy

from megadocs.analysis import RunFacts, RunScores, analyze_experiment, dump_results
from megadocs.recipe import AnalysisConfig
from megadocs.report import Curve, Generated, ReportInputs, Sample, StepRecord, StreamAccount, build_report

NUM_SEEDS = 5
NUM_DOCUMENTS = 300
NUM_STEPS = 300


def make_runs(num_runs: int) -> tuple[list[RunScores], list[RunFacts], list[Curve]]:
    rng = np.random.default_rng(0)
    arms = [("real_only", 1, 6.4), ("real_2x", 2, 5.9), ("real_4x", 4, 5.3), ("real_8x", 8, 4.9)]
    arms += [(f"synthetic_{index:03d}", 1, 5.2 + rng.random()) for index in range(num_runs // NUM_SEEDS - len(arms))]
    scores, facts, curves = [], [], []
    tokens = rng.integers(150, 320, NUM_DOCUMENTS)
    hard = rng.normal(0, 0.3, NUM_DOCUMENTS)
    for arm, multiple, loss in arms:
        for seed in range(NUM_SEEDS):
            for set_name in ("test", "validation"):
                ids = tuple(f"{set_name}-{index:04d}" for index in range(NUM_DOCUMENTS))
                for mode in ("windowed", "alone"):
                    nll = (loss + hard + rng.normal(0, 0.01) + rng.normal(0, 0.05, NUM_DOCUMENTS)) * tokens
                    scores.append(RunScores(arm, seed, set_name, mode, ids, tokens, tokens * 4, nll))
            synthetic = 0 if arm.startswith("real") else 40_000
            identity = f"{len(facts):020x}"
            facts.append(
                RunFacts(
                    arm,
                    seed,
                    55 * multiple,
                    13_000 * multiple,
                    synthetic,
                    400_000,
                    NUM_STEPS,
                    8.0,
                    None,
                    8.0,
                    None,
                    60.0,
                    1_300_000,
                    loss - 1,
                    f"train/{identity}/record.json",
                    identity,
                    {"ordering": "stitched" if synthetic else None},
                )
            )
            steps = list(range(1, NUM_STEPS + 1))
            curves.append(Curve(arm, seed, steps, [loss + 2 * math.exp(-step / 80) for step in steps], 4096))
    return scores, facts, curves


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--html", type=Path, help="write the page here, to look at it")
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()
    scores, facts, curves = make_runs(arguments.runs)
    started, started_cpu = time.perf_counter(), time.process_time()
    results = analyze_experiment(scores, facts, AnalysisConfig(), name=f"{arguments.runs} runs")
    analysed = time.perf_counter()
    inputs = ReportInputs(
        results=results,
        curves=curves,
        samples=[Sample(f"d{i}", "text " * 200, [Generated("rephrase", 0, "words " * 150)]) for i in range(6)],
        streams=[StreamAccount(run.arm, "real", 55, 13_000, 50, 10) for run in facts if run.seed == 0],
        steps=[StepRecord("train", f"{run.arm}, {run.seed}", run.fingerprint or "", run.record, 60.0) for run in facts],
    )
    html = build_report(inputs)
    built, built_cpu = time.perf_counter(), time.process_time()
    report: dict[str, Any] = {
        "runs": len(facts),
        "analysis_seconds": round(analysed - started, 2),
        "page_seconds": round(built - analysed, 2),
        "cpu_seconds": round(built_cpu - started_cpu, 2),
        "page_megabytes": round(len(html.encode()) / 1e6, 3),
        "results_megabytes": round(len(dump_results(results)) / 1e6, 3),
        "same_bytes_when_rebuilt": build_report(inputs) == html,
        "peak_megabytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
        "versions": {"python": platform.python_version(), "numpy": np.__version__, "scipy": scipy.__version__},
        "machine": platform.machine(),
    }
    print(json.dumps(report, indent=1))
    if arguments.html:
        arguments.html.write_text(html, encoding="utf-8")
    if arguments.output:
        arguments.output.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
