"""The search on random loss surfaces: how many runs it takes, whether it finds the optimum, what it certifies.

    python benchmarks/bench_search.py --out search.json                # 200 surfaces, 6 x 3 x 4 x 3, noise 0 and 1/3
    python benchmarks/bench_search.py --overhead            # seconds of a decision with 1,000 trials recorded
    python benchmarks/bench_search.py --driver              # the whole driver over 1,000 trials that take no time

A surface is a random bowl with interactions between the axes, in warped coordinates, drawn again until its grid has a
single local optimum (no other setting beats all its one-step neighbours). Every other surface has it in the interior of
all axes; of the rest, as it falls, some 95 % have it on the rim, because two of the axes have three values. Noise is
drawn for each run, on top of an effect of each seed; its standard deviation is a share of the gap between the optimum
and its best neighbour (`optimum`, the harder reading) or of the smallest gap between any two neighbours (`grid`).
"""

from __future__ import annotations

import argparse
import heapq
import itertools
import json
import platform
import tempfile
import time
from pathlib import Path

import numpy as np

from megadocs.pipeline.steps.step import Step
from megadocs.pipeline.tune.driver import run_search
from megadocs.recipe import Recipe
from megadocs.search import Grid, LocalWalk, Trial, Walks, build_axis, certify, next_trials
from megadocs.store.artifact import Workspace

SHAPE = (6, 3, 4, 3)


def draw_surface(draw: np.random.Generator, shape: tuple[int, ...], *, is_interior: bool) -> np.ndarray:
    """Losses on the grid, unimodal under one-step moves; on request with the optimum inside."""
    while True:
        k = len(shape)
        axes = [np.cumsum(draw.uniform(0.4, 1.6, n)) * draw.uniform(0.4, 1.0) for n in shape]
        points = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)
        centre = np.array([draw.uniform(axis[0] - 0.3, axis[-1] + 0.3) for axis in axes])
        mixing = np.eye(k) + draw.uniform(-0.35, 0.35, (k, k))
        warped = (points - centre) @ mixing.T
        losses = 3.0 + 0.05 * (np.abs(warped) ** draw.uniform(1.3, 2.2, k)).sum(axis=-1)
        optima = local_optima(losses)
        if len(optima) == 1 and not (is_interior and is_on_rim(optima[0], shape)):
            return losses


def is_on_rim(point: tuple[int, ...], shape: tuple[int, ...]) -> bool:
    return any(index in (0, size - 1) for index, size in zip(point, shape, strict=True))


def local_optima(losses: np.ndarray) -> list[tuple[int, ...]]:
    """Settings that no one-step neighbour beats."""
    found = []
    for point in itertools.product(*map(range, losses.shape)):
        if all(losses[near] > losses[point] for near in neighbours(point, losses.shape)):
            found.append(point)
    return found


def neighbours(point: tuple[int, ...], shape: tuple[int, ...]) -> list[tuple[int, ...]]:
    return [
        (*point[:n], point[n] + step, *point[n + 1 :])
        for n in range(len(shape))
        for step in (-1, 1)
        if 0 <= point[n] + step < shape[n]
    ]


def smallest_gap(losses: np.ndarray, scope: str) -> float:
    if scope == "optimum":
        best = local_optima(losses)[0]
        return float(min(losses[near] for near in neighbours(best, losses.shape)) - losses[best])
    return float(min(np.abs(np.diff(losses, axis=n)).min() for n in range(losses.ndim)))


def search(losses, noise_sd, draw, *, seeds, round_size, max_runs, start, num_slots=1):
    """One search on so many slots, by a simulated clock: as the driver does, without steps and files.

    Returns the certificate, the trials that count, how many were wasted, and the share of the slots' time used.
    A run takes a base time, and twice as long for each step up the first axis (as epochs do), give or take a tenth.
    """
    grid = Grid(
        tuple(build_axis(f"axis{n}", [float(2**i) for i in range(size)]) for n, size in enumerate(losses.shape))
    )
    key = int(draw.integers(2**31))
    seed_effects = {seed: draw.normal(0, 3 * noise_sd) for seed in seeds}
    walks = Walks([LocalWalk(grid, start, seeds, round_size=round_size)], max_runs=max_runs)
    known: dict[Trial, float] = {}
    running: list[tuple[float, int, Trial]] = []
    begun: dict[Trial, float] = {}
    now = held = 0.0
    while True:
        walks.take_in([known])
        if walks.is_finished:
            break
        needed = [trial for _, trial in walks.needed() if trial not in begun]
        while len(running) < num_slots:
            asked = {trial for trials in walks.walks[0].rounds for trial in trials}
            num_unasked = sum(trial not in asked for trial in begun)
            if needed:
                trial = needed.pop(0)
            elif walks.may_begin_ahead(num_unasked):
                trial = walks.ahead(0, known, {trial for _, _, trial in running})
            else:
                trial = None
            if trial is None:
                break
            begun[trial] = now
            heapq.heappush(running, (now + (1 + 2 ** trial.point[0]) * draw.uniform(0.9, 1.1), len(begun), trial))
        now, _, trial = heapq.heappop(running)
        held += now - begun[trial]
        noise = np.random.default_rng([key, *trial.point, trial.seed]).normal(0, noise_sd)
        known[trial] = losses[trial.point] + seed_effects[trial.seed] + noise
    held += sum(now - begun[trial] for _, _, trial in running)
    counted = walks.walks[0].losses
    num_wasted = sum(trial not in counted for trial in begun)
    return certify(grid, seeds, counted), counted, num_wasted, held / (num_slots * now)


def measure(args, share: float, scope: str) -> dict:
    wasted, busy = [], []
    runs, settings, exact, within_one, certified, separated, false_interior, rim = [], [], 0, 0, 0, 0, 0, 0
    for number in range(args.surfaces):
        draw = np.random.default_rng([args.seed, number])
        losses = draw_surface(draw, SHAPE, is_interior=number % 2 == 0)
        best = local_optima(losses)[0]
        start = tuple(size // 2 for size in SHAPE)
        certificate, known, num_wasted, share_busy = search(
            losses,
            share * smallest_gap(losses, scope),
            draw,
            seeds=list(range(args.num_seeds)),
            round_size=args.round_size,
            max_runs=args.max_runs,
            start=start,
            num_slots=args.slots,
        )
        wasted.append(num_wasted)
        busy.append(share_busy)
        found = certificate.point
        distance = sum(abs(a - b) for a, b in zip(found, best, strict=True))
        runs.append(len(known))
        settings.append(len({trial.point for trial in known}))
        exact += distance == 0
        within_one += distance <= 1
        certified += certificate.kind != "incomplete"
        separated += certificate.kind != "incomplete" and certificate.is_separated
        false_interior += certificate.kind == "interior" and is_on_rim(found, SHAPE)
        rim += is_on_rim(best, SHAPE)
    total = args.surfaces
    grid_runs = int(np.prod(SHAPE))
    return {
        "noise_share": share,
        "noise_scope": scope,
        "num_surfaces": total,
        "optimum_on_rim": rim / total,
        "runs_mean": float(np.mean(runs)),
        "runs_max": int(max(runs)),
        "runs_mean_fraction": float(np.mean(runs)) / grid_runs,
        "runs_max_fraction": max(runs) / grid_runs,
        "wasted_mean": float(np.mean(wasted)),
        "wasted_max": int(max(wasted)),
        "slots_busy": float(np.mean(busy)),
        "settings_mean": float(np.mean(settings)),
        "settings_max": int(max(settings)),
        "optimum_found": exact / total,
        "within_one_step": within_one / total,
        "certified": certified / total,
        "certified_and_separated": separated / total,
        "edges_certified_interior": false_interior,
    }


def measure_overhead() -> dict:
    """Seconds of a decision and a certificate with 1,000 trials recorded."""
    draw = np.random.default_rng(0)
    grid = Grid(tuple(build_axis(f"axis{n}", [float(2**i) for i in range(6)]) for n in range(4)))
    points = draw.permutation(6**4)[:1000]
    known = {Trial(tuple(int(i) for i in np.unravel_index(p, (6,) * 4)), 0): float(draw.normal()) for p in points}
    started = time.perf_counter()
    for _ in range(20):
        next_trials(grid, (2, 2, 2, 2), [0, 1, 2], known)
        certify(grid, [0, 1, 2], known)
    return {"num_trials": 1000, "seconds_per_decision": (time.perf_counter() - started) / 20}


class InstantExecutor:
    """Publishes an artifact with a made-up loss as soon as a step starts: what is left is the driver's own time."""

    num_slots = 2

    def __init__(self, root: Path) -> None:
        self._workspace = Workspace(root)
        self._events: list[tuple[Step, dict]] = []
        self.publishing_seconds = 0.0

    def start(self, step: Step) -> None:
        started = time.perf_counter()
        inputs = {role: needed.fingerprint for role, needed in step.inputs.items()}
        with self._workspace.build(step.kind, step.fingerprint, config=step.config, inputs=inputs) as build:
            build.summary.update(self._summary(step))
        self._events.append((step, {"event": "done", "seconds": 0.0}))
        self.publishing_seconds += time.perf_counter() - started  # a worker's time, not the driver's

    def events(self, timeout_seconds: float) -> list[tuple[Step, dict]]:
        events, self._events = self._events, []
        return events

    def stop(self) -> None: ...

    def slots_of(self, step: Step) -> int:
        return min(step.slots or self.num_slots, self.num_slots)

    def kill(self) -> None: ...

    def close(self) -> None: ...

    def _summary(self, step: Step) -> dict:
        if step.kind == "evaluate":
            train = step.inputs["train"].config["train"]
            offsets = [np.log2(train["weight_decay"]) - 2, np.log2(train["real_epochs"]) - 3, np.log2(train["eps"])]
            loss = {"nats_per_token": 3.0 + 0.1 * float(np.square(offsets).sum())}
            return {"losses": {"validation windowed": loss, "test windowed": loss}}
        counts = {"num_train_1x": 55, "max_multiple": 1}
        return counts | {"num_tokens": 1, "flops": 1.0, "training_seconds": 1.0, "num_steps": 1}


def measure_driver(directory: Path) -> dict:
    """Seconds a trial of a search over 1,000 trials, and of the same search again."""
    source = directory / "texts"
    source.mkdir()
    (source / "one.txt").write_text("A text.", encoding="utf-8")
    axes = {"train.weight_decay": 6, "train.real_epochs": 6, "train.eps": 3}
    data = {
        "name": "driver",
        "corpus": {"source": str(source), "split": "auto"},
        "arms": {f"arm{n}": {"train.beta1": 0.9 - n / 1000} for n in range(72)},
        "seeds": [0, 1, 2],
        "search": {"axes": {name: {"values": [2.0**i for i in range(size)]} for name, size in axes.items()}},
    }
    recipe, root, seconds = Recipe.model_validate(data), directory / "ws", []
    for _ in range(2):
        executor, started = InstantExecutor(root), time.perf_counter()
        outcome = run_search(recipe, root, executor=executor)
        seconds.append(time.perf_counter() - started - executor.publishing_seconds)
    num_trials = sum(len(arm.results) for arm in outcome.arms)
    return {
        "num_trials": num_trials,
        "seconds_per_trial": seconds[0] / num_trials,
        "seconds_no_op": seconds[1],
        "kinds": sorted({arm.certificate.kind for arm in outcome.arms}),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--surfaces", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--num-seeds", type=int, default=3)
    parser.add_argument("--round-size", type=int, default=2)
    parser.add_argument("--max-runs", type=int, default=32)
    parser.add_argument("--slots", type=int, default=2)
    parser.add_argument("--overhead", action="store_true")
    parser.add_argument("--driver", action="store_true")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    if args.overhead:
        results = [measure_overhead()]
    elif args.driver:
        with tempfile.TemporaryDirectory() as directory:
            results = [measure_driver(Path(directory))]
    else:
        cases = [(0.0, "optimum"), (1 / 3, "optimum"), (1 / 3, "grid")]
        results = [measure(args, share, scope) for share, scope in cases]
    machine = {"python": platform.python_version(), "numpy": np.__version__, "machine": platform.machine()}
    config = {name: value for name, value in vars(args).items() if name != "out"}
    report = json.dumps({"config": config | {"shape": SHAPE}, "machine": machine, "results": results}, indent=1)
    print(report)
    if args.out:
        args.out.write_text(report + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
