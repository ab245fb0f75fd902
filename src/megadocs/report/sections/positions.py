"""Long documents on the page: the loss by position, and the tested loss past a position.

Ranges of positions double; what lies below 64 is one range. Each figure is two panels: the losses, where arms lie too
close to be distinguished but the shape shows, and the differences to the baseline, seeds as strokes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from megadocs.analysis import number_of
from megadocs.report.axes import Frame, label_width, x_axis, y_axis
from megadocs.report.figures import MAX_CURVES, arm_links, arm_styles
from megadocs.report.inputs import ReportInputs
from megadocs.report.names import middle_cut, short_names
from megadocs.report.section import Row, Section, View, cell
from megadocs.report.svg import Drawing, Scale, spread_labels
from megadocs.report.wording import count, number, signed

#: Positions below this are one range: their few targets would fill half of a logarithmic axis.
_FIRST_EDGE = 64
#: Letters of an arm's name in a panel.
_LETTERS = 18


@dataclass(frozen=True, slots=True)
class _Line:
    """One arm's curve over the ranges, with its seeds' curves."""

    arm: str
    values: Sequence[float]
    seeds: Sequence[Sequence[float]]


def _view(inputs: ReportInputs) -> View:
    tables = inputs.results.get("positions") or ()
    views = [_set_view(inputs.results, table, index) for index, table in enumerate(tables)]
    return {"positions": views} if views else None


def _set_view(results: Mapping[str, Any], table: Mapping[str, Any], place: int) -> dict[str, Any]:
    groups = _groups(table["ranges"])
    ranges = [_merged_range(table["ranges"], group) for group in groups]
    weights = [row["num_tokens"] for row in table["ranges"]]
    rows = [
        {
            "arm": row["arm"],
            "is_ensemble": row["is_ensemble"],
            "losses": _merged(row["losses"], weights, groups),
            "differences": row["differences"] and _merged(row["differences"], weights, groups),
            "seeds": [{**seed, "losses": _merged(seed["losses"], weights, groups)} for seed in row["seeds"]],
        }
        for row in table["arms"]
    ]
    return {
        "set": table["set"],
        "context_lengths": table["context_lengths"],
        "ranges": ranges,
        "rows": rows,
        "left_out": table["left_out"],
        "figures": _figures(results, table, ranges, rows, place),
        "past": [_past(results, entry) for entry in table["past"]],
    }


def _groups(ranges: Sequence[Mapping[str, Any]]) -> list[list[int]]:
    """Indices of the ranges that are shown as one: all below `_FIRST_EDGE`, then each with targets."""
    first = [i for i, row in enumerate(ranges) if row["from"] < _FIRST_EDGE]
    return [group for group in [first, *([i] for i in range(len(first), len(ranges)))] if group]


def _merged_range(ranges: Sequence[Mapping[str, Any]], group: Sequence[int]) -> dict[str, Any]:
    last = ranges[group[-1]]["to"]
    tokens = sum(ranges[i]["num_tokens"] for i in group)
    return {"from": ranges[group[0]]["from"], "to": last, "num_tokens": tokens}


def _merged(values: Sequence[Any], weights: Sequence[int], groups: Sequence[Sequence[int]]) -> list[float]:
    """Token-weighted means over groups of ranges; ranges without targets weigh nothing, other NaN stay NaN."""
    means = []
    for group in groups:
        used = [i for i in group if weights[i]]
        total = sum(weights[i] for i in used)
        means.append(sum(number_of(values[i]) * weights[i] for i in used) / total if total else math.nan)
    return means


def _past(results: Mapping[str, Any], entry: Mapping[str, Any]) -> dict[str, Any]:
    """The analysis of the set of targets past a position; without rows where no document is that long."""
    block = next((block for block in results["sets"] if block["set"] == entry["set"]), None)
    if block is None:
        return {"position": entry["position"], "rows": []}
    differences = {row["arm"]: row for row in block["differences"]}
    worth = {row["arm"]: row for row in block["data_efficiency"]}
    return {
        "position": entry["position"],
        "num_documents": block["num_documents"],
        "num_tokens": block["num_tokens"],
        "rows": [
            {"loss": row, "difference": differences.get(row["arm"]), "worth": worth.get(row["arm"])}
            for row in block["losses"]
        ],
    }


def _figures(
    results: Mapping[str, Any],
    table: Mapping[str, Any],
    ranges: Sequence[Mapping[str, Any]],
    rows: Sequence[Mapping[str, Any]],
    place: int,
) -> list[Markup]:
    """The panels of losses and of differences; fewer where there is nothing to draw."""
    if len(ranges) < 2:
        return []
    chosen = _chosen(results["baseline"], [row for row in rows if not row["is_ensemble"]], table)
    losses = [_Line(row["arm"], row["losses"], [seed["losses"] for seed in row["seeds"]]) for row in chosen]
    base = {seed["seed"]: seed["losses"] for row in rows if row["arm"] == results["baseline"] for seed in row["seeds"]}
    differences = [
        _Line(
            row["arm"],
            row["differences"],
            [
                [own - other for own, other in zip(seed["losses"], base[seed["seed"]], strict=True)]
                for seed in row["seeds"]
                if seed["seed"] in base
            ],
        )
        for row in chosen
        if row["differences"]
    ]
    panels = [
        ("losses", "loss, nats per token", losses),
        ("differences", f"nats per token against {middle_cut(results['baseline'], _LETTERS)}", differences),
    ]
    return [
        _draw(results, table, ranges, lines, label, f"positions-{place}-{name}")
        for name, label, lines in panels
        if any(math.isfinite(value) for line in lines for value in line.values)
    ]


def _chosen(baseline: str, rows: Sequence[Mapping[str, Any]], table: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """At most `MAX_CURVES` arms: the baseline and those of the lowest loss over the whole set, in the page's order."""
    if len(rows) <= MAX_CURVES:
        return list(rows)
    weights = [row["num_tokens"] for row in table["ranges"]]
    whole = {row["arm"]: _merged(row["losses"], weights, [range(len(weights))])[0] for row in table["arms"]}
    others = sorted((row["arm"] for row in rows if row["arm"] != baseline), key=lambda arm: whole[arm])
    kept = {baseline, *others[: MAX_CURVES - 1]}
    return [row for row in rows if row["arm"] in kept]


def _draw(
    results: Mapping[str, Any],
    table: Mapping[str, Any],
    ranges: Sequence[Mapping[str, Any]],
    lines: Sequence[_Line],
    label: str,
    name: str,
) -> Markup:
    names = short_names([line.arm for line in lines], _LETTERS)
    frame = Frame(400, 320, 38, label_width(names.values(), 16), 24, 46, "panel")
    starts = [max(float(row["from"]), _FIRST_EDGE / 2) for row in ranges]
    values = [v for line in lines for curve in (line.values, *line.seeds) for v in curve if math.isfinite(v)]
    values += [0.0] if "differences" in name else []
    margin = 0.06 * (max(values) - min(values) or 0.1)
    x = Scale(starts[0] / 1.15, starts[-1] * 1.15, *frame.x, log=True)
    y = Scale(min(values) - margin, max(values) + margin, *frame.y)
    described = "; ".join(
        f"{line.arm}: {', '.join((signed if 'differences' in name else number)(v) for v in line.values)}"
        for line in lines
    )
    drawing = Drawing(frame.width, frame.height, f"Loss by position, {table['set']}: {label}", described, name)
    y_axis(drawing, frame, y, label)
    every = -(-len(starts) // 5)
    ticks = [
        (x(at), None if index % every else count(row["from"]))
        for index, (row, at) in enumerate(zip(ranges, starts, strict=True))
    ]
    x_axis(drawing, frame, ticks, "from position (tokens)")
    if len(table["context_lengths"]) == 1 and x.low < table["context_lengths"][0] < x.high:
        at = x(table["context_lengths"][0])
        drawing.line(at, frame.top, at, frame.y[0], "context")
        drawing.text(at + 4, frame.top + 10, "context", "tick")
    styles, links = arm_styles(results), arm_links(results)
    ends = spread_labels([y(_last(line.values)) for line in lines], 14, frame.top, frame.y[0])
    for line, label_y in zip(lines, ends, strict=True):
        css = styles[line.arm]
        drawing.path([(x(at), y(value)) for at, value in zip(starts, line.values, strict=True)], f"curve {css}")
        for index, at in enumerate(starts):
            spread = [curve[index] for curve in line.seeds if math.isfinite(curve[index])]
            if len(spread) > 1:
                drawing.line(x(at), y(min(spread)), x(at), y(max(spread)), f"seed {css}")
            words = f"{line.arm}, positions {_range_text(ranges[index])}: {number(line.values[index], 4)}"
            drawing.circle(x(at), y(line.values[index]), 2.6, f"point {css}", words, links.get(line.arm))
        drawing.text(frame.x[1] + 10, label_y + 4, names[line.arm], f"label name {css}")
    return drawing.render("panel")


def _last(values: Sequence[float]) -> float:
    """The last finite value, where the label stands."""
    return next((value for value in reversed(values) if math.isfinite(value)), math.nan)


def _range_text(row: Mapping[str, Any]) -> str:
    return f"from {row['from']:,}" if row["to"] is None else f"{row['from']:,} to {row['to'] - 1:,}"


def _tables(results: Mapping[str, Any]) -> dict[str, list[Row]]:
    """One row per set, arm, seed and range of positions."""
    rows = [
        {
            "set": table["set"],
            "arm": row["arm"],
            "seed": seed["seed"],
            "from_position": place["from"],
            "to_position": place["to"],
            "num_tokens": place["num_tokens"],
            "loss": cell(loss),
            "record": seed["record"],
        }
        for table in results.get("positions", ())
        for row in table["arms"]
        for seed in row["seeds"]
        for place, loss in zip(table["ranges"], seed["losses"], strict=True)
    ]
    return {"positions": rows}


SECTION = Section("positions", "Long documents", _view, _tables)
