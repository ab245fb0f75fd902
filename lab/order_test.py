"""The primary outcomes of lab/order.md, from the results of its recipes: paired t over seeds, Holm over all.

python lab/order_test.py results/order/small/results.json [another/results.json ...]
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

OUTCOMES = (("test", "windowed"), ("speeches_past_768", "alone"))
ARMS = ("stitched", "mis_stitched", "stitched_row", "latent_thoughts")


def seed_losses(results: dict[str, Any], arm: str, outcome: tuple[str, str]) -> dict[int, float]:
    """Seed -> loss of the arm in the evaluation set and mode."""
    return {
        run["seed"]: loss["loss"]
        for run in results["runs"]
        for loss in run["losses"]
        if run["arm"] == arm and (loss["set"], loss["mode"]) == outcome
    }


def main(*paths: str) -> None:
    """Print each arm minus simple: mean, 95 % interval over seeds, p; Holm over stitched's outcomes."""
    primary = []
    for path in paths:
        results = json.loads(Path(path).read_text())
        for outcome in OUTCOMES:
            simple = seed_losses(results, "simple", outcome)
            print(f"{results['name']}, {outcome[0]}: simple {np.mean(list(simple.values())):.4f} ({len(simple)} seeds)")
            for arm in ARMS:
                found = seed_losses(results, arm, outcome)
                seeds = sorted(found.keys() & simple.keys())
                if not seeds:
                    continue
                gaps = np.array([found[seed] - simple[seed] for seed in seeds])
                error = gaps.std(ddof=1) / len(gaps) ** 0.5
                half = error * stats.t.ppf(0.975, len(gaps) - 1)
                p = float(2 * stats.t.sf(abs(gaps.mean() / error), len(gaps) - 1))
                each = " ".join(f"{gap:+.4f}" for gap in gaps)
                print(
                    f"  {arm} - simple: {gaps.mean():+.4f} [{gaps.mean() - half:+.4f}, {gaps.mean() + half:+.4f}], "
                    f"sd {gaps.std(ddof=1):.4f}, p = {p:.2g} ({each})"
                )
                if arm == "stitched":
                    primary.append((p, f"{results['name']}, {outcome[0]}"))
    worst = 0.0
    for rank, (p, name) in enumerate(sorted(primary)):
        worst = max(worst, min(1.0, p * (len(primary) - rank)))
        print(f"Holm: {name}: p = {worst:.2g}")


if __name__ == "__main__":
    main(*sys.argv[1:])
