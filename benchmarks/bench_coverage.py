"""Coverage of the 95 % intervals of A, B, C and of the multiplier, by simulation; profile likelihood against bootstrap.

    python benchmarks/bench_coverage.py --output benchmarks/results/coverage.json

Two designs: real-only runs at 4 sizes x 3 seeds and at 6 sizes x 5 seeds, sizes doubling from 0.2097 (billion tokens),
law L = 1.926 + 1.137 / x**0.23, standard deviation between seeds 0.005, and an arm at 0.2097 whose true multiplier is
1.5. A third part simulates whole experiments (6 arms, 2 or 3 seeds, 300 documents) and counts how often the interval of
a paired difference and of an interpolated multiplier holds the truth, and how often equal arms are called separated.
A fourth simulates corpora of 3, 5, 8, 15 and 30 sources of unequal length: coverage of losses, differences, multipliers
and the control's share of a gain over new sources and new seeds. A fifth simulates experiments in which nothing is
worth anything (every arm is as good as the baseline, 8 sources, 3 seeds) and counts how often the answer claims
something.
Prints, per method and design, the share of intervals that hold the truth (with its standard error), the median
width, and how often the asymptote is "not identified". `--bootstrap 0` leaves the parametric bootstrap out, and
`--cells sources null` measures those cells alone again, and leaves the rest of the output as it is. The tables in
docs/statistics.md are of 500 data sets (laws) and 2,000 experiments (`--experiments 2000`) a cell, 70 to 120 processor
seconds each.
"""

from __future__ import annotations

import argparse
import json
import math
import platform
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import scipy

from megadocs.analysis import RunFacts, RunScores, analyze_experiment
from megadocs.analysis.law_intervals import fit_multiple, law_intervals
from megadocs.analysis.power_law import EXPONENTS, PowerLaw, fit_power_law
from megadocs.recipe import AnalysisConfig

TRUE = PowerLaw(coefficient=1.137, exponent=0.23, asymptote=1.926)
BASE = 0.2097
MULTIPLE = 1.5
SEED_SD = 0.005
DESIGNS = {"4 sizes x 3 seeds": (4, 3), "6 sizes x 5 seeds": (6, 5)}
NAMES = ("coefficient", "exponent", "asymptote", "multiple")
TRUTH = {"coefficient": TRUE.coefficient, "exponent": TRUE.exponent, "asymptote": TRUE.asymptote, "multiple": MULTIPLE}


def batch_fit(x: np.ndarray, losses: np.ndarray) -> np.ndarray:
    """Fit many data sets at the same sizes at once: losses (M, N) -> (M, 3) with A, B, C. Grid, then a parabola."""

    def solve(exponents: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        powers = x ** -exponents[..., None]  # (E, N) or (M, 1, N)
        centred = powers - powers.mean(-1, keepdims=True)
        data = losses[:, None, :]
        slope = np.maximum((centred * data).sum(-1) / (centred**2).sum(-1), 0.0)
        start = data.mean(-1) - slope * powers.mean(-1)
        slope = np.where(start < 0, np.maximum((powers * data).sum(-1) / (powers**2).sum(-1), 0), slope)
        start = np.maximum(start, 0.0)
        rest = data - start[..., None] - slope[..., None] * powers
        return start, slope, (rest**2).sum(-1)

    best = np.clip(solve(EXPONENTS)[2].argmin(1), 1, len(EXPONENTS) - 2)
    low, high = EXPONENTS[best - 1], EXPONENTS[best + 1]
    for _ in range(2):
        fine = np.exp(np.linspace(np.log(low), np.log(high), 15, axis=1))
        rss = solve(fine)[2]
        at = np.clip(rss.argmin(1), 1, 13)
        rows = np.arange(len(losses))
        low, high = fine[rows, at - 1], fine[rows, at + 1]
    exponent = fine[rows, at]
    start, slope, _ = solve(exponent[:, None])
    return np.column_stack([slope[:, 0], exponent, start[:, 0]])


def bootstrap_intervals(x: np.ndarray, losses: np.ndarray, arm: np.ndarray, num: int, rng: np.random.Generator) -> dict:
    """Percentile intervals of the parametric bootstrap: normal noise of the residual sd around the fitted law."""
    fit = fit_power_law(x, losses)
    noise = rng.normal(0, fit.residual_sd, (num, len(x)))
    laws = batch_fit(x, fit.law.loss(x) + noise)
    draws = arm.mean() + rng.normal(0, fit.residual_sd, (num, len(arm))).mean(1)
    gap = np.maximum(draws - laws[:, 2], 1e-12)
    multiple = (laws[:, 0] / gap) ** (1 / laws[:, 1]) / BASE
    return {
        name: tuple(np.quantile(values, [0.025, 0.975]))
        for name, values in zip(NAMES, (*laws.T, multiple), strict=True)
    }


def profile_intervals(x: np.ndarray, losses: np.ndarray, arm: np.ndarray) -> tuple[dict, bool]:
    fit = fit_power_law(x, losses)
    found = law_intervals(fit, 0.95)
    multiple = fit_multiple(fit, BASE, arm, 0.95)
    assert found is not None and multiple is not None
    values = (found.coefficient, found.exponent, found.asymptote, multiple.interval)
    return dict(zip(NAMES, values, strict=True)), found.is_asymptote_identified


def run_design(num_sizes: int, num_seeds: int, num_datasets: int, num_bootstrap: int) -> dict[str, Any]:
    rng = np.random.default_rng([num_sizes, num_seeds])
    x = np.repeat([BASE * 2**k for k in range(num_sizes)], num_seeds)
    arm_loss = float(TRUE.loss(BASE * MULTIPLE))
    intervals: dict[str, list[dict]] = {"profile likelihood": []}
    if num_bootstrap:
        intervals["parametric bootstrap"] = []
    identified = 0
    for _ in range(num_datasets):
        losses = TRUE.loss(x) + rng.normal(0, SEED_SD, len(x))
        arm = arm_loss + rng.normal(0, SEED_SD, num_seeds)
        found, is_identified = profile_intervals(x, losses, arm)
        intervals["profile likelihood"].append(found)
        identified += is_identified
        if num_bootstrap:
            intervals["parametric bootstrap"].append(bootstrap_intervals(x, losses, arm, num_bootstrap, rng))
    summary: dict[str, Any] = {method: summarise(rows) for method, rows in intervals.items()}
    summary["asymptote not identified"] = 1 - identified / num_datasets
    return summary


def summarise(rows: list[dict]) -> dict[str, dict[str, float]]:
    table = {}
    for name in NAMES:
        hits = np.array([row[name][0] <= TRUTH[name] <= row[name][1] for row in rows])
        widths = np.array([row[name][1] - row[name][0] for row in rows])
        share = float(hits.mean())
        error = math.sqrt(share * (1 - share) / len(rows))
        table[name] = {"coverage": share, "standard_error": error, "median_width": float(np.median(widths))}
    return table


def run_experiments(num_seeds: int, num_experiments: int) -> dict[str, Any]:
    """Whole experiments: coverage of differences and multipliers, and false verdicts between two equal arms."""
    rng = np.random.default_rng([7, num_seeds])
    truth = {"real_only": 6.44, "real_2x": 5.88, "real_4x": 5.06, "simple": 5.63, "stitched": 5.63, "latent": 6.01}
    real = {"real_only": 1, "real_2x": 2, "real_4x": 4}
    hits: dict[str, list[bool]] = {"difference": [], "multiple": [], "equal arms separated": []}
    for _ in range(num_experiments):
        scores, facts = simulate_experiment(rng, truth, real, num_seeds)
        block = headline_block(scores, facts)
        for row in block["differences"]:
            gap = truth[row["arm"]] - truth["real_only"]
            hits["difference"].append(row["interval"][0] <= gap <= row["interval"][1])
        for row in block["data_efficiency"]:
            multiple = np.exp(np.interp(-truth[row["arm"]], [-6.44, -5.88, -5.06], np.log([1, 2, 4])))
            hits["multiple"].append(row["lower"]["value"] <= multiple <= row["upper"]["value"])
        pair = next(row for row in block["pairs"] if {row["arm"], row["reference"]} == {"simple", "stitched"})
        hits["equal arms separated"].append(pair["verdict"] == "separated")
    return shares(hits, num_experiments)


def simulate_experiment(
    rng: np.random.Generator, truth: dict[str, float], real: dict[str, int], num_seeds: int
) -> tuple[list[RunScores], list[RunFacts]]:
    """Document difficulty, an arm's own easy and hard documents, seed effects shared by the arms, and run noise."""
    num_documents, scores, facts = 300, [], []
    tokens = rng.integers(150, 320, num_documents)
    ids = tuple(f"d{index:03d}" for index in range(num_documents))
    hard, shared = rng.normal(0, 0.35, num_documents), rng.normal(0, 0.01, num_seeds)
    for arm, loss in truth.items():
        own = rng.normal(0, 0.08, num_documents)
        for seed in range(num_seeds):
            noise = rng.normal(0, 0.01) + shared[seed] + rng.normal(0, 0.05, num_documents)
            nll = (loss + hard + own + noise) * tokens
            scores.append(RunScores(arm, seed, "test", "windowed", ids, tokens, tokens * 4, nll))
            synthetic = 0 if arm in real else 30_000
            facts.append(RunFacts(arm, seed, 55, 13_000 * real.get(arm, 1), synthetic_tokens=synthetic))
    return scores, facts


SOURCES = (3, 5, 8, 15, 30)
WORLD = {"real_only": 6.44, "real_2x": 5.88, "real_4x": 5.06, "simple": 5.63, "stitched": 5.63, "shuffled_words": 6.2}
REAL = {"real_only": 1, "real_2x": 2, "real_4x": 4}


def headline_block(
    scores: list[RunScores], facts: list[RunFacts], groups: dict[str, str] | None = None
) -> dict[str, Any]:
    """The analysis of the headline's losses. Laws are left out: half of the time, and `run_design` measures them."""
    nothing = {"laws": [], "data_efficiency_by_law": []}
    with mock.patch("megadocs.analysis.experiment._laws", return_value=nothing):
        return analyze_experiment(scores, facts, AnalysisConfig(), groups=groups)["sets"][0]


def simulate_sources(
    rng: np.random.Generator, truth: dict[str, float], num_sources: int, num_seeds: int = 3
) -> tuple[list[RunScores], list[RunFacts], dict[str, str]]:
    """Sources of log-normal length (sd of the logarithm 0.9); difficulty and arms' tastes by source and document."""
    pieces = np.maximum(1, rng.lognormal(1.5, 0.9, num_sources).astype(int))
    source = np.repeat(np.arange(num_sources), pieces)
    ids = tuple(f"s{number:02d}#{place:04d}" for place, number in enumerate(source))
    tokens = rng.integers(150, 320, len(source))
    hard = rng.normal(0, 0.3, num_sources)[source] + rng.normal(0, 0.35, len(source))
    shared, scores, facts = rng.normal(0, 0.01, num_seeds), [], []
    for arm, loss in truth.items():
        own = rng.normal(0, 0.03, num_sources)[source] + rng.normal(0, 0.08, len(source))
        for seed in range(num_seeds):
            noise = rng.normal(0, 0.01) + shared[seed] + rng.normal(0, 0.05, len(source))
            nll = np.maximum(loss + hard + own + noise, 0.1) * tokens
            scores.append(RunScores(arm, seed, "test", "windowed", ids, tokens, tokens * 4, nll))
            settings = {} if arm in REAL else {"ordering": arm}
            synthetic = 0 if arm in REAL else 30_000
            facts.append(RunFacts(arm, seed, 55, 13_000 * REAL.get(arm, 1), synthetic, settings=settings))
    return scores, facts, {name: name.partition("#")[0] for name in ids}


def run_sources(num_sources: int, num_experiments: int) -> dict[str, Any]:
    """Coverage over new sources and seeds."""
    rng = np.random.default_rng([11, num_sources])
    hits: dict[str, list[bool]] = {"loss": [], "difference": [], "multiple": []}
    hits |= {"gain share": [], "gain share without ends": []}
    base, control = WORLD["real_only"], WORLD["shuffled_words"]
    real = [WORLD[arm] for arm in REAL]
    for _ in range(num_experiments):
        scores, facts, groups = simulate_sources(rng, WORLD, num_sources)
        block = headline_block(scores, facts, groups)
        for row in block["losses"]:
            hits["loss"].append(row["interval"][0] <= WORLD[row["arm"]] <= row["interval"][1])
        for row in block["differences"]:
            gap = WORLD[row["arm"]] - WORLD["real_only"]
            hits["difference"].append(row["interval"][0] <= gap <= row["interval"][1])
        for row in block["data_efficiency"]:
            multiple = float(np.exp(np.interp(-WORLD[row["arm"]], [-loss for loss in real], np.log([1, 2, 4]))))
            hits["multiple"].append(is_inside(row, multiple))
        for row in block["controls"]:
            low, high = map(float, row["gain_share_interval"])
            hits["gain share"].append(low <= (base - control) / (base - WORLD[row["arm"]]) <= high)
            hits["gain share without ends"].append(math.isinf(low))
    return shares(hits, num_experiments)


def shares(hits: dict[str, list[bool]], num_experiments: int) -> dict[str, Any]:
    """Share of hits by name, and the standard error of a share over experiments (not over the arms within one)."""
    found: dict[str, Any] = {name: float(np.mean(values)) for name, values in hits.items()}
    per = {name: np.reshape(values, (num_experiments, -1)).mean(axis=1) for name, values in hits.items()}
    errors = {name: float(np.std(values, ddof=1) / math.sqrt(num_experiments)) for name, values in per.items()}
    return found | {"standard_errors": errors, "experiments": num_experiments}


def shares_line(found: dict[str, Any]) -> str:
    """Shares with their standard errors in one line."""
    errors = found["standard_errors"]
    return ", ".join(f"{name} {found[name]:.1%} +- {error:.1%}" for name, error in errors.items())


def is_inside(row: dict[str, Any], multiple: float) -> bool:
    """Whether the interval of a multiplier holds the truth; an end past the curve is open."""
    low, high = row["lower"], row["upper"]
    above = low is None or low["relation"] == "less than" or low["value"] <= multiple
    below = high is None or high["relation"] == "more than" or multiple <= high["value"]
    return bool(above and below)


def run_null(num_experiments: int) -> dict[str, Any]:
    """How often something is claimed where no text is worth anything: 8 sources, 3 seeds.

    The headline claims a multiplier where an arm beats the control after Holm; the pairs are the other family.
    """
    rng = np.random.default_rng([13, 8])
    truth = {arm: loss if arm in REAL else WORLD["real_only"] for arm, loss in WORLD.items()}
    hits: dict[str, list[bool]] = {"headline claims": [], "any pair separated": [], "any arm separated": []}
    for _ in range(num_experiments):
        scores, facts, groups = simulate_sources(rng, truth, 8)
        block = headline_block(scores, facts, groups)
        hits["headline claims"].append(any(row["beats"] for row in block["controls"]))
        hits["any pair separated"].append(any(row["verdict"] == "separated" for row in block["pairs"]))
        synthetic = [row for row in block["differences"] if row["arm"] not in REAL]
        hits["any arm separated"].append(any(row["verdict"] == "separated" for row in synthetic))
    return shares(hits, num_experiments)


def cells(datasets: int, bootstrap: int, experiments: int) -> dict[str, Callable[[], dict[str, Any]]]:
    """Every cell of the tables by its name."""
    found: dict[str, Callable[[], dict[str, Any]]] = {
        label: partial(run_design, *sizes, datasets, bootstrap) for label, sizes in DESIGNS.items()
    }
    found |= {f"experiment, {seeds} seeds": partial(run_experiments, seeds, experiments) for seeds in (2, 3)}
    found |= {f"{sources} sources": partial(run_sources, sources, experiments) for sources in SOURCES}
    return found | {"null, nothing is worth anything": partial(run_null, experiments)}


def law_lines(found: dict[str, Any]) -> str:
    """A table of laws, a line for each method and number."""
    lines = [
        f"  {method:22} {name:12} coverage {row['coverage']:.1%} +- {row['standard_error']:.1%}"
        f"  median width {row['median_width']:.4g}"
        for method, rows in found.items()
        if isinstance(rows, dict)
        for name, row in rows.items()
    ]
    return "\n".join(["", *lines, f"  asymptote not identified in {found['asymptote not identified']:.1%}"])


def main() -> None:
    """Measure the cells that are asked for; with an output, those of it that are not measured again stay."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--datasets", type=int, default=500)
    parser.add_argument(
        "--bootstrap", type=int, default=400, help="resamples of the parametric bootstrap; 0: leave out"
    )
    parser.add_argument("--experiments", type=int, default=500, help="simulated experiments a cell")
    parser.add_argument("--cells", nargs="+", default=[""], help="words of the names of the cells; by default all")
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()
    report: dict[str, Any] = {"designs": {}}
    if arguments.output and arguments.output.exists():
        report = json.loads(arguments.output.read_text(encoding="utf-8"))
    report |= {
        "datasets": arguments.datasets,
        "bootstrap": arguments.bootstrap,
        "experiments": arguments.experiments,
        "truth": TRUTH,
        "seed_sd": SEED_SD,
        "versions": {"python": platform.python_version(), "numpy": np.__version__, "scipy": scipy.__version__},
        "machine": platform.machine(),
    }
    for label, cell in cells(arguments.datasets, arguments.bootstrap, arguments.experiments).items():
        if not any(word in label for word in arguments.cells):
            continue
        started = time.process_time()
        found = report["designs"][label] = cell()
        told = shares_line(found) if "standard_errors" in found else law_lines(found)
        print(f"{label}: {told}  ({time.process_time() - started:.0f} processor seconds)", flush=True)
        if arguments.output:
            arguments.output.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
