"""The figures of the page, each drawn twice: wide, and narrow for small screens (CSS shows one of them).

Real-only arms are drawn in ink, synthetic arms in colour; dashes and direct labels carry the same information, so that
colour is never needed to read a figure.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from markupsafe import Markup

from megadocs.analysis import number_of
from megadocs.analysis.sentences import multiple_text, ratio_text
from megadocs.report.axes import Frame, both_sizes, label_width, value_axis, x_axis, y_axis
from megadocs.report.inputs import Curve
from megadocs.report.names import text_width
from megadocs.report.svg import Drawing, Scale, nice_ticks, spread_labels
from megadocs.report.wording import interval, number, signed, tokens_short

_NUM_COLOURS = 6
MAX_CURVES = 8
MAX_ROWS = 40
_MAX_POINTS = 48


def arm_styles(results: Mapping[str, Any]) -> dict[str, str]:
    """CSS classes per arm: `real` with dashes in order, or a colour with dashes.

    Up to six synthetic arms have a colour each. More of several methods have a colour per method, and dashes
    distinguish the arms of one; labels name every line.
    """
    synthetic = [row for row in results["arms"] if row["kind"] == "synthetic"]
    methods = list(dict.fromkeys(str(row.get("settings", {}).get("ordering")) for row in synthetic))
    is_by_method = len(synthetic) > _NUM_COLOURS and len(methods) > 1
    styles: dict[str, str] = {}
    used: dict[int, int] = {}
    for index, row in enumerate(synthetic):
        ordering = str(row.get("settings", {}).get("ordering"))
        place = methods.index(ordering) if is_by_method else index
        colour = place % _NUM_COLOURS + 1
        styles[row["arm"]] = f"colour-{colour} dash-{min(used.get(colour, 0), 3)}"
        used[colour] = used.get(colour, 0) + 1
    real = [row["arm"] for row in results["arms"] if row["kind"] != "synthetic"]
    return styles | {arm: f"real dash-{min(index, 3)}" for index, arm in enumerate(real)}


def arm_links(results: Mapping[str, Any]) -> dict[str, str]:
    """Arm -> link to its row in the table of losses, where every seed links to its record."""
    return {row["arm"]: f"#arm-{index}" for index, row in enumerate(results["arms"])}


def efficiency_figure(results: Mapping[str, Any], block: Mapping[str, Any]) -> Markup | None:
    """The measured real-only curve and where the synthetic arms' losses meet it; `None` without a curve."""
    points = [point for point in block["curve"] if math.isfinite(number_of(point["loss"]))]
    if len(points) < 2:
        return None
    styles = arm_styles(results)
    wide = Frame(720, 380, 42, 0, 34, 50, "wide")
    narrow = Frame(360, 330, 34, 0, 32, 50, "narrow")
    return both_sizes(lambda frame: _draw_efficiency(frame, results, block, points, styles), wide, narrow)


def _draw_efficiency(
    frame: Frame, results: Mapping[str, Any], block: Mapping[str, Any], points: Sequence[Any], styles: Mapping[str, str]
) -> Markup:
    base = next((p["real_tokens"] for p in points if p["arm"] == results["baseline"]), points[0]["real_tokens"])
    losses = {row["arm"]: number_of(row["loss"]) for row in block["losses"]}
    rows = [row for row in block["data_efficiency"] if row["estimate"] is not None]
    rows = sorted(rows, key=lambda row: losses[row["arm"]])[:MAX_CURVES]
    names = frame.names([row["arm"] for row in [*points, *rows]])
    labels = [names[row["arm"]] for row in rows] + [multiple_text(row["estimate"]) for row in rows]
    frame = replace(frame, right=label_width(["real tokens", *labels], 16))
    shown = [number_of(point["loss"]) for point in points] + [losses[row["arm"]] for row in rows]
    margin = 0.08 * (max(shown) - min(shown) or 1.0)
    x = Scale(points[0]["real_tokens"] / 1.12, points[-1]["real_tokens"] * 1.12, *frame.x, log=True)
    y = Scale(min(shown) - margin, max(shown) + margin, *frame.y)
    listed = "; ".join(f"{row['arm']} {multiple_text(row['estimate'])}" for row in rows)
    drawing = Drawing(
        frame.width,
        frame.height,
        "What the synthetic text was worth in real data",
        f"Loss of the real-only arms against their real tokens, and the synthetic arms read off that curve: {listed}.",
        f"efficiency-{frame.css}",
    )
    y_axis(drawing, frame, y, "loss, nats per token")
    _token_axis(drawing, frame, x, points, base)
    links = arm_links(results)
    drawing.path([(x(p["real_tokens"]), y(number_of(p["loss"]))) for p in points], "curve real")
    for point in points:
        title = f"{point['arm']}: {number(point['loss'])} at {tokens_short(point['real_tokens'])} real tokens"
        link = links.get(point["arm"])
        drawing.circle(x(point["real_tokens"]), y(number_of(point["loss"])), 4, "point real", title, link)
    places = spread_labels([y(losses[row["arm"]]) for row in rows], 29, frame.top + 12, frame.y[0] - 18)
    for row, label_y in zip(rows, places, strict=True):
        ends = _EfficiencyEnds(losses[row["arm"]], base, label_y, links[row["arm"]], names[row["arm"]])
        _efficiency_arm(drawing, frame, x, y, row, ends, styles[row["arm"]])
    _point_names(drawing, frame, (x, y), points, names)  # last: an interval may cross a name
    return drawing.render(frame.css)


@dataclass(frozen=True, slots=True)
class _EfficiencyEnds:
    """Where an arm's line begins and ends: its loss, the tokens that are 1x, its label's place, its link, its name."""

    loss: float
    base: float
    label_y: float
    link: str
    name: str


def _efficiency_arm(
    drawing: Drawing, frame: Frame, x: Scale, y: Scale, row: Mapping[str, Any], ends: _EfficiencyEnds, css: str
) -> None:
    loss, base, label_y = ends.loss, ends.base, ends.label_y
    at = x(number_of(row["estimate"]["value"]) * base)
    low, high = (
        x(number_of(end["value"]) * base) if end is not None else edge
        for end, edge in ((row["lower"], frame.x[0]), (row["upper"], frame.x[1]))
    )
    title = (
        f"{row['arm']}: {multiple_text(row['estimate'])} [{multiple_text(row['lower'])}, {multiple_text(row['upper'])}]"
    )
    edge = frame.x[1]
    drawing.path([(at, y(loss)), (edge, y(loss)), (edge + 8, label_y)], f"leader {css}")
    if row["estimate"]["relation"] == "equal":
        drawing.line(at, y(loss), at, frame.y[0], f"leader {css}")
    drawing.bar(low, high, y(loss), 7, f"interval {css}", title)
    drawing.circle(at, y(loss), 4.5, f"point {css}", title, ends.link)
    for end in (low, high):  # over the point: an interval narrower than the point is seen by its ends
        drawing.line(end, y(loss) - 9, end, y(loss) + 9, f"interval-end {css}")
    drawing.text(edge + 12, label_y - 2, ends.name, f"label name {css}")
    drawing.text(edge + 12, label_y + 12, multiple_text(row["estimate"]), "label")


def difference_figure(results: Mapping[str, Any], block: Mapping[str, Any]) -> Markup | None:
    """Every arm's difference to the baseline with its interval and its seeds; `None` where there is none."""
    rows = [row for row in block["differences"] if math.isfinite(number_of(row["difference"]))][:MAX_ROWS]
    if not rows:
        return None
    styles = arm_styles(results)
    height = 62 + 30 * len(rows)
    wide = Frame(720, height, 0, 20, 8, 46, "wide")
    narrow = Frame(360, height, 0, 10, 8, 46, "narrow")
    return both_sizes(lambda frame: _draw_differences(frame, results, rows, styles), wide, narrow)


def _draw_differences(
    frame: Frame, results: Mapping[str, Any], rows: Sequence[Mapping[str, Any]], styles: Mapping[str, str]
) -> Markup:
    names = frame.names([row["arm"] for row in rows])
    frame = replace(frame, left=label_width(names.values(), 16))
    ends = [
        number_of(v)
        for row in rows
        for v in (*row["interval"], *row["seed_differences"])
        if math.isfinite(number_of(v))
    ]
    low, high = min([0.0, *ends]), max([0.0, *ends])
    margin = 0.04 * (high - low or 1.0)
    x = Scale(low - margin, high + margin, *frame.x)
    listed = "; ".join(
        f"{row['arm']} {signed(row['difference'])} {interval(row['interval'], plus=True)}" for row in rows
    )
    drawing = Drawing(
        frame.width,
        frame.height,
        f"Difference in loss to {results['baseline']}",
        f"{listed}.",
        f"difference-{frame.css}",
    )
    num_ticks = 4 if frame.css == "narrow" else 7
    baseline = frame.names([results["baseline"]])[results["baseline"]]
    value_axis(drawing, frame, x, f"nats per token against {baseline}", num_ticks)
    for index, row in enumerate(rows):
        at = frame.top + 20 + 30 * index
        title = f"{row['arm']}: {signed(row['difference'])} {interval(row['interval'], plus=True)}, {row['verdict']}"
        css = styles[row["arm"]]
        drawing.text(frame.left - 12, at + 4, names[row["arm"]], f"label name {css}", "end")
        ends_px = [x(number_of(value)) for value in row["interval"]]
        if all(map(math.isfinite, ends_px)):
            drawing.bar(ends_px[0], ends_px[1], at, 8, f"interval {css}", title)
        for value in row["seed_differences"]:
            drawing.line(x(number_of(value)), at - 8, x(number_of(value)), at + 8, f"seed {css}")
        link = arm_links(results)[row["arm"]]
        drawing.circle(x(number_of(row["difference"])), at, 4.5, f"point {css}", title, link)
    return drawing.render(frame.css)


def training_figure(results: Mapping[str, Any], curves: Sequence[Curve]) -> Markup | None:
    """Training loss of the arms against tokens (or steps), a line an arm; where there are many, the first of them."""
    styles = arm_styles(results)
    order = [row["arm"] for row in results["arms"]]
    arms = [arm for arm in order if any(curve.arm == arm and curve.steps for curve in curves)][:MAX_CURVES]
    chosen = [curve for curve in curves if curve.arm in arms and curve.steps]
    if not chosen:
        return None
    wide = Frame(720, 360, 42, 0, 34, 46, "wide")
    narrow = Frame(360, 320, 30, 0, 32, 46, "narrow")
    return both_sizes(lambda frame: _draw_training(frame, chosen, arms, styles), wide, narrow)


def _draw_training(frame: Frame, curves: Sequence[Curve], arms: Sequence[str], styles: Mapping[str, str]) -> Markup:
    names = frame.names(arms)
    frame = replace(frame, right=label_width(names.values(), 34))
    in_tokens = all(curve.tokens_per_step for curve in curves)
    lines = {arm: _mean_curve([curve for curve in curves if curve.arm == arm], in_tokens=in_tokens) for arm in arms}
    finite = [loss for line in lines.values() for _, loss in line if math.isfinite(loss)]
    low, high = (min(finite), max(finite)) if finite else (0.0, 1.0)
    margin = 0.05 * (high - low or 1.0)
    x = Scale(0.0, max(line[-1][0] for line in lines.values()) or 1.0, *frame.x)
    y = Scale(low - margin, high + margin, *frame.y)
    unit = "tokens trained on" if in_tokens else "steps"
    drawing = Drawing(
        frame.width,
        frame.height,
        "Training loss",
        f"Training loss against {unit}, one line per arm, mean over seeds.",
        f"training-{frame.css}",
    )
    y_axis(drawing, frame, y, "training loss, nats per token")
    ticks = nice_ticks(0.0, x.high, 3 if frame.css == "narrow" else 6)
    x_axis(drawing, frame, [(x(tick), tokens_short(tick) if tick else "0") for tick in ticks], unit)
    ended = []
    for arm, line in lines.items():
        drawing.path([(x(at), y(loss)) for at, loss in line], f"curve thin {styles[arm]}", arm)
        if any(math.isfinite(loss) for _, loss in line):
            ended.append(arm)
    for index, arm in enumerate(ended):  # a legend, in the order of the tables
        at = frame.top + 8 + 17 * index
        drawing.line(frame.x[1] + 6, at, frame.x[1] + 24, at, f"curve {styles[arm]}")
        drawing.text(frame.x[1] + 29, at + 4, names[arm], f"label name {styles[arm]}")
    return drawing.render(frame.css)


def _mean_curve(curves: Sequence[Curve], *, in_tokens: bool) -> list[tuple[float, float]]:
    """At most `_MAX_POINTS` points: means over the seeds and over equal runs of logged steps, so that no spike is
    picked or dropped in silence. Seeds that stopped earlier count as far as they came."""
    size = -(-max(len(curve.steps) for curve in curves) // _MAX_POINTS)
    points = []
    for start in range(0, max(len(curve.steps) for curve in curves), size):
        places: list[float] = []
        losses: list[float] = []
        for curve in curves:
            scale = (curve.tokens_per_step or 1.0) if in_tokens else 1.0
            places += [step * scale for step in curve.steps[start : start + size]]
            losses += curve.losses[start : start + size]
        points.append((sum(places) / len(places), sum(losses) / len(losses)))
    return points


def _token_axis(drawing: Drawing, frame: Frame, x: Scale, points: Sequence[Mapping[str, Any]], base: float) -> None:
    bottom = frame.y[0]
    drawing.line(frame.x[0], bottom, frame.x[1], bottom, "axis-line")
    for point in points:
        at = x(point["real_tokens"])
        drawing.line(at, bottom, at, bottom + 5, "tick-mark")
        drawing.text(at, bottom + 19, ratio_text(point["real_tokens"] / base), "tick strong", "middle")
        drawing.text(at, bottom + 34, tokens_short(point["real_tokens"]), "tick", "middle")
    drawing.text(frame.x[1] + 12, bottom + 26, "real tokens", "axis")


def _point_names(
    drawing: Drawing,
    frame: Frame,
    scales: tuple[Scale, Scale],
    points: Sequence[Mapping[str, Any]],
    names: Mapping[str, str],
) -> None:
    """The arm beside each point of the curve: above it to the right, else below it to the left, from the drawing's edge
    where that is too narrow as well."""
    x, y = scales
    for point in points:
        at, label = x(point["real_tokens"]), names[point["arm"]]
        width = text_width(label)
        left, anchor, down = (at - 9, "end", 15) if at - 9 >= width else (0.0, "start", 15)
        if at + 9 + width <= frame.x[1]:
            left, anchor, down = at + 9, "start", -9
        drawing.text(left, y(number_of(point["loss"])) + down, label, "label name real halo", anchor)
