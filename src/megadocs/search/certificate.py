"""What a search may claim: where the best setting lies, each neighbour that was tried, and by how much it is worse.

    certificate = certify(grid, seeds, losses)
    certificate.kind      # "interior", "edge" or "incomplete"

An optimum on the rim of the grid is never called interior: a side without a neighbour is named. A neighbour that was
not tried, or failed, makes the certificate incomplete.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

from megadocs.search.grid import Grid, Point, Step
from megadocs.search.noise import (
    DIVERGED,
    MIN_FREEDOM,
    Comparison,
    Losses,
    Trial,
    Verdict,
    adjusted_means,
    compare,
    estimate_noise,
    losses_by_point,
)
from megadocs.search.walk import best_point

Kind = Literal["interior", "edge", "incomplete"]


@dataclass(frozen=True, slots=True)
class NeighbourLine:
    """One neighbour of the centre."""

    axis: str  # dotted key
    value: float | None  # on that axis; None beyond the last value of the grid
    is_extended: bool  # the value lies outside the declared ones
    verdict: Verdict | None  # against the centre; None beyond the edge
    loss: float | None = None  # mean over its seeds
    #: `margin`, `margin_error`: see `noise.Comparison`, nats per token.
    margin: float | None = None
    margin_error: float | None = None
    num_pairs: int = 0


@dataclass(frozen=True, slots=True)
class Certificate:
    """The claim of a search."""

    #: interior: a worse or equal neighbour on both sides of every axis; edge: all neighbours that exist were tried,
    #: some sides have none; incomplete: some neighbour was not tried or failed, or is better.
    kind: Kind
    point: Point | None  # the best setting known; None when no trial has finished
    setting: dict[str, float]  # its values
    loss: float | None  # mean over its seeds, nats per token, on the set that decides
    num_seeds: int  # seeds at the centre
    is_separated: bool  # every neighbour that exists is worse beyond the noise
    edges: tuple[str, ...]  # `axis: value` ends without a neighbour
    neighbours: tuple[NeighbourLine, ...]  # axis by axis, lower first
    #: `noise_sd`, `noise_freedom`: run-to-run noise among the centre and its neighbours.
    noise_sd: float | None
    noise_freedom: int
    #: `num_trials`, `num_failed`, `num_diverged`: of the whole search; a diverged trial's setting is worse than all
    #: others.
    num_trials: int
    num_failed: int
    num_diverged: int = 0

    def to_json(self) -> dict[str, Any]:
        """JSON values."""
        return asdict(self)


def certify(grid: Grid, seeds: Sequence[int], losses: Losses, *, confidence: float = 0.95) -> Certificate:
    """The certificate of the best setting among the trials that there are.

    Args:
        seeds: the first one is the walk's.
        losses: every trial that has ended; failed ones hold None.
        confidence: level of "worse".
    """
    table = losses_by_point(losses)
    num_failed = sum(loss is None for loss in losses.values())
    num_diverged = sum(loss == DIVERGED for loss in losses.values())
    if not table:
        return Certificate(
            "incomplete", None, {}, None, 0, False, (), (), None, 0, len(losses), num_failed, num_diverged
        )
    centre = best_point(adjusted_means(table, estimate_noise(table)))
    steps = grid.steps(centre)
    noise = estimate_noise(table, [centre, *(step.point for step in steps if step.point is not None)])
    lines, verdicts = [], []
    for step in steps:
        axis = grid.axes[step.axis]
        if step.point is None:
            lines.append(NeighbourLine(axis.name, None, False, None))
            continue
        by_seed = table.get(step.point)
        if by_seed is None:
            compared = Comparison(_verdict_without_loss(step.point, seeds[0], losses), None, None, 0)
        else:
            compared = compare(by_seed, table[centre], noise, confidence=confidence)
        verdicts.append(compared.verdict)
        lines.append(_line(grid, step, compared, by_seed))
    return Certificate(
        kind=_kind(verdicts, has_edge=len(verdicts) < len(steps)),
        point=centre,
        setting=grid.setting(centre),
        loss=float(np.mean(list(table[centre].values()))),
        num_seeds=len(table[centre]),
        is_separated=all(verdict in ("worse", "diverged") for verdict in verdicts),
        edges=tuple(_edge(grid, centre, step) for step in steps if step.point is None),
        neighbours=tuple(lines),
        noise_sd=noise.sd,
        noise_freedom=noise.num_freedom,
        num_trials=len(losses),
        num_failed=num_failed,
        num_diverged=num_diverged,
    )


def count_bounds(grid: Grid, start: Point, num_seeds: int) -> tuple[int, int]:
    """Fewest and most runs that a search can take.

    Fewest: the start is the optimum, has every seed, few neighbours show the noise, the others are far off. Most: every
    setting of the grid with every seed.
    """
    neighbours = grid.neighbours(start)
    fewest = num_seeds + len(neighbours) + (min(MIN_FREEDOM, len(neighbours)) if num_seeds > 1 else 0)
    return fewest, grid.num_points * num_seeds


def cheapest_points(grid: Grid, start: Point) -> list[Point]:
    """The settings of the cheapest search: the start and its neighbours."""
    return [start, *grid.neighbours(start)]


def _line(grid: Grid, step: Step, compared: Comparison, by_seed: dict[int, float] | None) -> NeighbourLine:
    assert step.point is not None
    axis, index = grid.axes[step.axis], step.point[step.axis]
    return NeighbourLine(
        axis.name,
        axis.values[index],
        axis.is_extended(index),
        compared.verdict,
        float(np.mean(list(by_seed.values()))) if by_seed else None,
        compared.margin,
        compared.margin_error,
        compared.num_pairs,
    )


def _verdict_without_loss(point: Point, seed: int, losses: Losses) -> Verdict:
    """Of a neighbour of which no run has ended with a loss, or one has diverged."""
    if any(trial.point == point and loss == DIVERGED for trial, loss in losses.items()):
        return "diverged"
    return "failed" if Trial(point, seed) in losses else "not tried"


def _edge(grid: Grid, centre: Point, step: Step) -> str:
    side = "lowest" if step.direction < 0 else "highest"
    axis = grid.axes[step.axis]
    return f"{axis.name} = {axis.values[centre[step.axis]]:g}, the {side} value"


def _kind(verdicts: Sequence[Verdict], *, has_edge: bool) -> Kind:
    if any(verdict in ("not tried", "failed", "better") for verdict in verdicts):
        return "incomplete"
    return "edge" if has_edge else "interior"
