"""The paper's figures drawn from the user's own runs, with the published values in a panel of their own beside them.

The panels never share an axis: the published runs saw other text, other tokens and another student, so only the shapes
can be compared. Bars run from the lowest to the highest seed; dashed lines are fitted power laws, dotted ones their
asymptotes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from megadocs.analysis.paper_published import Point, Series
from megadocs.analysis.paper_series import PaperFigure, paper_figures
from megadocs.analysis.paper_tables import best_settings, compute_groups, controlled_against_tuned, student_scaling
from megadocs.kinds import orderings_of_role
from megadocs.report.figures import Frame, arm_links, label_width
from megadocs.report.names import short_names
from megadocs.report.svg import Drawing, Scale, nice_ticks, spread_labels, tick_text
from megadocs.report.wording import flops, number, tokens_short

X_LABELS = {
    "num_generations": "generations per document (G)",
    "planned_real_epochs": "real epochs",
    "synthetic_fraction": "synthetic fraction",
    "num_members": "ensemble members",
    "num_parameters": "parameters",
    "compute": "training compute, FLOPs",
}
_MAX_SERIES = 8


def paper_views(results: Mapping[str, Any]) -> dict[str, Any] | None:
    """What the page shows of the paper; `None` where no figure has runs of its own.

    Every figure over generations, epochs or a fraction is drawn a second time over training compute.
    """
    figures = paper_figures(results)
    if not any(figure.own for figure in figures):
        return None
    over_compute = {figure.name: figure for figure in paper_figures(results, against_compute=True)}
    links = arm_links(results)
    views = []
    for figure in figures:
        beside = over_compute.get(figure.name)
        is_drawn_again = beside is not None and beside.x_label == "compute" and bool(beside.own)
        views.append(
            {
                "title": figure.title,
                "own": draw_panel(figure, figure.own, "own", links) if figure.own else None,
                "published": draw_panel(figure, figure.published, "published") if figure.published else None,
                "own_compute": draw_panel(beside, beside.own, "own", links) if is_drawn_again and beside else None,
                "published_compute": draw_panel(beside, beside.published, "published")
                if is_drawn_again and beside and beside.published
                else None,
                "source": figure.source,
                "note": figure.note,
            }
        )
    return {
        "figures": views,
        "settings": [row for row in best_settings(results) if row["num_generations"] is not None],
        "controlled": controlled_against_tuned(results),
        "students": student_scaling(results),
    }


def compute_view(results: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Arms by training compute; empty unless two arms can be compared."""
    rows = compute_groups(results)
    return rows if len(rows) > 1 else []


def draw_panel(
    figure: PaperFigure, series: Sequence[Series], which: str, links: Mapping[str, str] | None = None
) -> Markup:
    """One panel: points, seeds and laws, or conditions on a common scale; own points link to their arm's row."""
    described = "; ".join(
        f"{item.name}: {', '.join(f'{point.x} {number(point.value)}' for point in item.points[:12])}"
        for item in series[:8]
    )
    title = f"{figure.title} ({'these runs' if which == 'own' else 'published'})"
    name = f"paper-{figure.name}-{which}{'-compute' if figure.x_label == 'compute' else ''}"
    panel = _Panel(title, described, name, links or {})
    if figure.is_category:
        return _draw_conditions(series[0].points, panel)
    return _draw_numeric(figure, list(series[:_MAX_SERIES]), panel)


@dataclass(frozen=True, slots=True)
class _Panel:
    """What a panel is called, for readers and for links."""

    title: str
    described: str
    name: str
    links: Mapping[str, str]


def series_styles(names: Sequence[str]) -> list[str]:
    """A colour per method (what a name begins with), the same in both panels; dashes tell series of one apart."""
    colours = {"real_only": "real dash-0"}
    colours |= {spec.name: f"colour-{spec.colour} dash-0" for spec in orderings_of_role("method")}
    styles: list[str] = []
    seen: dict[str, int] = {}
    for name in names:
        method = name.split(",")[0]
        css = next((css for known, css in colours.items() if method.startswith(known)), "colour-5 dash-0")
        repeat = seen[css] = seen.get(css, -1) + 1
        styles.append(css.replace("dash-0", f"dash-{min(repeat, 3)}"))
    return styles


def _draw_numeric(figure: PaperFigure, series: Sequence[Series], panel: _Panel) -> Markup:
    names = short_names([item.name for item in series], 20)
    frame = Frame(400, 290, 38, label_width(names.values(), 14), 24, 44, "panel")
    points = [point for item in series for point in item.points]
    sizes = sorted({float(point.x) for point in points})
    edges = [point.low for point in points] + [point.high for point in points]
    edges += [item.law.asymptote for item in series if item.law and item.is_asymptote_shown]
    margin = 0.07 * (max(edges) - min(edges) or 0.1)
    low, high, log = _x_range(figure.x_label, sizes)
    x = Scale(low, high, *frame.x, log=log)
    y = Scale(min(edges) - margin, max(edges) + margin, *frame.y)
    drawing = Drawing(frame.width, frame.height, panel.title, panel.described, panel.name)
    for tick in nice_ticks(y.low, y.high):
        drawing.line(frame.x[0], y(tick), frame.x[1], y(tick), "grid")
        drawing.text(frame.x[0] - 7, y(tick) + 4, tick_text(tick), "tick", "end")
    drawing.text(0, 10, figure.y_label, "axis")
    free_from = -math.inf
    for tick in sizes if len(sizes) <= 8 else [sizes[0], sizes[len(sizes) // 2], sizes[-1]]:
        drawing.line(x(tick), frame.y[0], x(tick), frame.y[0] + 4, "tick-mark")
        if x(tick) < free_from:
            continue
        free_from = x(tick) + 30
        words = flops(tick) if figure.x_label == "compute" else tokens_short(tick)
        drawing.text(x(tick), frame.y[0] + 17, words, "tick", "middle")
    drawing.text(
        (frame.x[0] + frame.x[1]) / 2, frame.height - 8, X_LABELS.get(figure.x_label, figure.x_label), "axis", "middle"
    )
    ends = spread_labels([y(item.points[-1].value) for item in series], 14, frame.top, frame.y[0])
    for item, css, label_y in zip(series, series_styles([item.name for item in series]), ends, strict=True):
        _draw_series(drawing, frame, (x, y), item, css, panel.links)
        drawing.text(frame.x[1] + 8, label_y + 4, names[item.name], f"label name {css}")
    return drawing.render("panel")


def _draw_series(
    drawing: Drawing, frame: Frame, scales: tuple[Scale, Scale], item: Series, css: str, links: Mapping[str, str]
) -> None:
    x, y = scales
    if item.law is not None:
        steps = [x.low * (x.high / x.low) ** (step / 40) for step in range(41)]
        drawing.path([(x(v), y(float(item.law.loss(v)))) for v in steps if v >= float(item.points[0].x)], f"law {css}")
        if item.is_asymptote_shown:
            level = y(item.law.asymptote)
            drawing.line(frame.x[0], level, frame.x[1], level, f"asymptote {css}")
    else:
        drawing.path([(x(float(point.x)), y(point.value)) for point in item.points], f"curve {css}")
    for point in item.points:
        at = x(float(point.x))
        if point.high > point.low:
            drawing.line(at, y(point.low), at, y(point.high), f"seed {css}")
        words = f"{point.arm or item.name}: {number(point.value, 4)}"
        drawing.circle(at, y(point.value), 3.2, f"point {css}", words, links.get(point.arm))


def _draw_conditions(points: Sequence[Point], panel: _Panel) -> Markup:
    frame = Frame(400, 50 + 34 * len(points), 10, 10, 6, 40, "panel")
    edges = [point.low for point in points] + [point.high for point in points]
    margin = 0.1 * (max(edges) - min(edges) or 0.1)
    x = Scale(min(edges) - margin, max(edges) + margin, *frame.x)
    drawing = Drawing(frame.width, frame.height, panel.title, panel.described, panel.name)
    for tick in nice_ticks(x.low, x.high, 4):
        drawing.line(x(tick), frame.top, x(tick), frame.y[0], "grid")
        drawing.text(x(tick), frame.y[0] + 16, tick_text(tick), "tick", "middle")
    drawing.text(200, frame.height - 6, "loss, nats per token", "axis", "middle")
    for index, point in enumerate(points):
        at = frame.top + 26 + 34 * index
        drawing.text(frame.x[0], at - 11, str(point.x), "label")
        if point.high > point.low:
            drawing.line(x(point.low), at, x(point.high), at, "seed real")
        words = f"{point.arm or point.x}: {number(point.value, 4)}"
        drawing.circle(x(point.value), at, 4, "point real", words, panel.links.get(point.arm))
    return drawing.render("panel")


def _x_range(label: str, sizes: Sequence[float]) -> tuple[float, float, bool]:
    low, high = sizes[0], sizes[-1]
    if label == "synthetic_fraction" or low <= 0:
        margin = 0.06 * (high - low or 1.0)
        return low - margin, high + margin, False
    margin = math.exp(0.06 * math.log(high / low)) if high > low else 1.5
    return low / margin, high * margin, True
