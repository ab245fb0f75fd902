"""Whole walks, kept: each round in order, what begins ahead, what is certain under a budget, every certificate."""

from __future__ import annotations

import dataclasses
import math
import random
from typing import Any

import pytest

from megadocs.search import DIVERGED, Grid, LocalWalk, Trial, Walks, build_axis, certify, next_trials

from ..golden import assert_golden

RATES = build_axis("train.learning_rate", [1e-3, 2e-3, 4e-3, 8e-3], lower=5e-4, upper=1.6e-2)
PASSES = build_axis("train.real_epochs", [4, 8, 16, 32])
PINNED = build_axis("train.weight_decay", [0.4])
GRID = Grid((RATES, PINNED, PASSES))
SEEDS = (5, 1, 3)
#: Where the optimum lies, how much runs scatter, what fails and what diverges.
SURFACES: dict[str, dict[str, Any]] = {
    "clear": {"best": (2, 0, 1), "scatter": 0.004},
    "noisy": {"best": (3, 0, 2), "scatter": 0.2},
    "edge": {"best": (5, 0, 3), "scatter": 0.01},
    "failing": {"best": (2, 0, 2), "scatter": 0.01, "failed": {((1, 0, 1), 5), ((2, 0, 1), 1), ((3, 0, 2), 5)}},
    "diverging": {"best": (3, 0, 1), "scatter": 0.02, "diverged": 4},
    "lucky": {"best": (2, 0, 1), "scatter": 0.03, "lucky": ((4, 0, 2), 5)},
}


def loss_of(trial: Trial, surface: dict[str, Any]) -> float | None:
    """A bowl, an effect of the seed, and scatter from the remainders of whole numbers."""
    rate, _, passes = trial.point
    if (trial.point, trial.seed) in surface.get("failed", ()):
        return None
    if rate >= surface.get("diverged", math.inf):
        return DIVERGED
    best = surface["best"]
    bowl = 0.11 * (rate - best[0]) ** 2 + 0.13 * (passes - best[2]) ** 2 + 0.02 * (rate - best[0]) * (passes - best[2])
    wiggle = ((31 * rate + 57 * passes + 83 * trial.seed + 7 * rate * passes * trial.seed) % 23 - 11) / 11
    luck = 0.9 if (trial.point, trial.seed) == surface.get("lucky") else 0.0
    return 3 + bowl + 0.05 * trial.seed + surface["scatter"] * wiggle - luck


def told(trials: list[Trial]) -> str:
    return " ".join(f"{''.join(map(str, trial.point))}#{trial.seed}" for trial in trials)


@pytest.mark.parametrize("name", SURFACES)
def test_every_step_of_a_walk(name: str) -> None:
    """All of a stage and the round that is taken of it, and at each step what may be claimed."""
    losses: dict[Trial, float | None] = {}
    steps = []
    while trials := next_trials(GRID, (1, 0, 1), SEEDS, losses):
        whole = next_trials(GRID, (1, 0, 1), SEEDS, losses, round_size=None)
        assert whole[:2] == trials
        losses |= {trial: loss_of(trial, SURFACES[name]) for trial in trials}
        certificate = certify(GRID, SEEDS, losses)
        steps.append([told(whole), certificate.kind, " ".join(str(line.verdict) for line in certificate.neighbours)])
    loose = certify(GRID, SEEDS, losses, confidence=0.8)
    assert_golden(
        f"search_walk_{name}",
        {
            "steps": steps,
            "certificate": certify(GRID, SEEDS, losses).to_json(),
            "loose": [line.verdict for line in loose.neighbours],
        },
    )


@pytest.mark.parametrize("name", SURFACES)
@pytest.mark.parametrize("seed", range(4))
def test_the_last_digits_of_losses_do_not_steer_a_walk(name: str, seed: int) -> None:
    """Processors differ there: of equally promising neighbours one took the first, another the second."""
    rng = random.Random(seed)

    def walk(blur: float) -> list[str]:
        losses: dict[Trial, float | None] = {}
        rounds = []
        while trials := next_trials(GRID, (1, 0, 1), SEEDS, losses):
            rounds.append(told(trials))
            for trial in trials:
                loss = loss_of(trial, SURFACES[name])
                losses[trial] = loss if loss is None else loss * (1 + rng.uniform(-blur, blur))
        return rounds

    assert walk(1e-14) == walk(0)


def test_a_walk_at_another_level_and_round_size() -> None:
    rounds = []
    losses: dict[Trial, float | None] = {}
    while trials := next_trials(GRID, (1, 0, 1), SEEDS, losses, confidence=0.7, round_size=3):
        rounds.append(told(trials))
        losses |= {trial: loss_of(trial, SURFACES["noisy"]) for trial in trials}
    assert_golden("search_walk_at_seven_tenths", rounds)


def state(walks: Walks, known: list[dict[Trial, float | None]]) -> list[Any]:
    return [
        [f"{number} {told([trial])}" for number, trial in walks.needed()],
        [told([trial] if (trial := walks.ahead(n, known[n], ())) else []) for n in range(len(known))],
        walks.num_trials,
        "".join("ny"[walks.may_begin_ahead(number)] for number in range(12)),
    ]


@pytest.mark.parametrize("max_runs", [None, 1, 4, 11, 26])
def test_walks_under_a_budget_step_by_step(max_runs: int | None) -> None:
    """Three walks of other surfaces and round sizes; results come in one at a time, the last that is needed first."""
    names, sizes = ("clear", "failing", "edge"), (2, 1, 3)
    walks = Walks(
        [LocalWalk(GRID, (1, 0, 1), SEEDS, round_size=size) for size in sizes],
        max_runs=max_runs,
    )
    known: list[dict[Trial, float | None]] = [{}, {}, {}]
    steps = []
    while not walks.is_finished:
        steps.append(state(walks, known))
        number, trial = next((n, trial) for n, trial in reversed(walks.needed()) if trial not in known[n])
        known[number][trial] = loss_of(trial, SURFACES[names[number]])
        walks.take_in(known)
    steps.append(state(walks, known))
    ends = [[walk.is_finished, walk.is_cut, told(list(walk.losses)), told(walk.open_round)] for walk in walks.walks]
    assert_golden(f"search_budget_{max_runs or 'none'}", {"steps": steps, "ends": ends})


def test_a_walk_of_its_own_settings() -> None:
    """By itself: pairs at 95 %; the start comes alone, and its neighbours are what may begin beside it."""
    walk = LocalWalk(GRID, (1, 0, 1), SEEDS)
    assert (walk.confidence, walk.round_size) == (0.95, 2)
    start = Trial((1, 0, 1), 5)
    assert walk.propose({}) == [start, *(Trial(point, 5) for point in GRID.neighbours((1, 0, 1)))]
    losses = {start: 3.0}
    while trials := next_trials(GRID, (1, 0, 1), SEEDS, losses, confidence=0.7, round_size=None):
        assert dataclasses.replace(walk, confidence=0.7).propose(losses) == trials
        losses |= {trial: loss_of(trial, SURFACES["noisy"]) for trial in trials}
