"""The page of `megadocs watch`: a run as it stands, redrawn by the browser every few seconds.

    html = build_live_page(LiveView(name="quickstart", ...), refresh_seconds=5)

The report's style sheet and its training figure, no script, the report's Content-Security-Policy.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from megadocs.report.build import page_style, page_template
from megadocs.report.cards import with_labels
from megadocs.report.figures import arm_styles, training_figure
from megadocs.report.inputs import Curve


@dataclass(frozen=True, slots=True)
class LiveGeneration:
    """A task of the generator."""

    task: str
    done: int  # generations with a final record
    requested: int  # generations asked for
    is_running: bool  # somebody writes to its ledger now
    speed: float  # new tokens a second over the last half minute; 0 when nobody writes
    note: str  # failures, waits and costs in words
    history: Sequence[tuple[float, int]] = ()  # (seconds, done) as seen by this page's server, oldest first


@dataclass(frozen=True, slots=True)
class LiveRun:
    """One training run: `steps` of `num_steps`, its last losses in nats per token (None: none yet)."""

    arm: str
    seed: int
    state: str
    steps: int
    num_steps: int | None
    training_loss: float | None
    validation_loss: float | None
    tokens_per_second: float | None


@dataclass(frozen=True, slots=True)
class LiveView:
    """What the page shows; `arms` are rows as in results.json (`arm`, `kind`, `settings`)."""

    name: str
    state: str
    notes: Sequence[str]
    generations: Sequence[LiveGeneration]
    arms: Sequence[Mapping[str, Any]]
    runs: Sequence[LiveRun]
    curves: Sequence[Curve]
    has_report: bool


def build_live_page(view: LiveView, *, refresh_seconds: int) -> str:
    """The page as text; the browser asks for it again after `refresh_seconds`."""
    css, policy = page_style()
    results = {"arms": view.arms}
    page = page_template("live.html.j2").render(
        css=css,
        policy=policy,
        view=view,
        refresh_seconds=refresh_seconds,
        styles=arm_styles(results),
        training=training_figure(results, view.curves),
        histories={task.task: _history_points(task) for task in view.generations},
    )
    return with_labels(page)


_WIDTH, _HEIGHT = 240, 44


def _history_points(task: LiveGeneration) -> str:
    """Points of a line over time from 0 to all generations; empty at rest or with fewer than two moments."""
    if not task.is_running or len(task.history) < 2 or not task.requested:
        return ""
    first, last = task.history[0][0], task.history[-1][0]
    span = (last - first) or 1.0
    places = [(seconds - first) / span * _WIDTH for seconds, _ in task.history]
    heights = [_HEIGHT * (1 - done / task.requested) for _, done in task.history]
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in zip(places, heights, strict=True))
