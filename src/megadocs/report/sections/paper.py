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

from megadocs.analysis.paper_arms import SETTINGS
from megadocs.analysis.paper_published import Point, Series
from megadocs.analysis.paper_series import PaperFigure, paper_figures
from megadocs.analysis.paper_tables import best_settings, compute_groups, controlled_against_tuned, student_scaling
from megadocs.kinds import orderings_of_role
from megadocs.report.axes import Frame, label_width, value_axis, x_axis, y_axis
from megadocs.report.figures import arm_links
from megadocs.report.inputs import ReportInputs
from megadocs.report.names import short_names
from megadocs.report.section import Row, Section, View, flat, flat_rows
from megadocs.report.svg import Drawing, Scale, spread_labels
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


def _view(inputs: ReportInputs) -> View:
    """Nothing where no figure has runs of its own; one over G, epochs or a fraction is drawn over compute as well."""
    results = inputs.results
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
    paper = {
        "figures": views,
        "settings": [row for row in best_settings(results) if row["num_generations"] is not None],
        "controlled": controlled_against_tuned(results),
        "students": student_scaling(results),
    }
    return {"paper": paper, "setting": _setting_text}


def _setting_text(values: Sequence[Any] | None) -> str:
    """(real epochs, synthetic fraction, learning rate, weight decay) in a line."""
    if values is None:
        return "not published"
    return " · ".join("-" if value is None else f"{float(value):g}" for value in values)


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
    """A colour per method (what a name begins with), the same in both panels; dashes distinguish series of one."""
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
    y_axis(drawing, frame, y, figure.y_label)
    ticks, free_from = [], -math.inf
    for tick in sizes if len(sizes) <= 8 else [sizes[0], sizes[len(sizes) // 2], sizes[-1]]:
        words = flops(tick) if figure.x_label == "compute" else tokens_short(tick)
        has_room = x(tick) >= free_from
        ticks.append((x(tick), words if has_room else None))
        free_from = x(tick) + 30 if has_room else free_from
    x_axis(drawing, frame, ticks, X_LABELS.get(figure.x_label, figure.x_label))
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
    value_axis(drawing, frame, x, "loss, nats per token")
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


def derived_tables(results: Mapping[str, Any]) -> dict[str, list[dict[str, Any]]]:
    """Tables of the page that are read off the results: equal compute, settings, students, the paper's figures."""
    figures = [
        {
            "figure": figure.name,
            "series": series.name,
            "is_published": is_published,
            "x_name": figure.x_label or "condition",
            "x": point.x,
            "y_name": figure.y_label,
            "y": point.value,
            "lowest_seed": point.low,
            "highest_seed": point.high,
            "arm": point.arm or None,
        }
        for figure in paper_figures(results)
        for is_published, found in ((False, figure.own), (True, figure.published))
        for series in found
        for point in series.points
    ]
    return {
        "compute": compute_groups(results),
        "best_settings": best_settings(results),
        "controlled_against_tuned": controlled_against_tuned(results),
        "student_scaling": student_scaling(results),
        "paper_figures": figures,
    }


def _settings_row(row: Mapping[str, Any]) -> Row:
    """Lists of settings as one column each."""
    found = flat({key: value for key, value in row.items() if not isinstance(value, list)})
    for key, values in row.items():
        if isinstance(values, list):
            found |= {f"{key}_{name}": value for name, value in zip(SETTINGS, values, strict=True)}
    return found


def _tables(results: Mapping[str, Any]) -> dict[str, list[Row]]:
    derived = derived_tables(results)
    return {
        "best_settings": [_settings_row(row) for row in derived["best_settings"]],
        "controlled_against_tuned": [_settings_row(row) for row in derived["controlled_against_tuned"]],
        "student_scaling": flat_rows(derived["student_scaling"], "seed_differences"),
        "paper_figures": flat_rows(derived["paper_figures"]),
    }


SECTION = Section("paper", "Beside the paper", _view, _tables)
