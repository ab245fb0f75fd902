"""Every table of the report as CSV and Parquet, for people who want to draw their own figures.

    write_tables(results, workspace.root / "tables")      # losses.csv, losses.parquet, differences.csv, ...

Rows are flat: an interval is two columns, a multiplier is a value and a relation ("equal", "more than", "less than").
Numbers keep the results' digits; NaN is NaN, a missing value is empty. The same results give the same CSV bytes.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from megadocs.analysis import number_of
from megadocs.analysis.paper_arms import SETTINGS
from megadocs.analysis.paper_series import paper_figures
from megadocs.analysis.paper_tables import best_settings, compute_groups, controlled_against_tuned, student_scaling
from megadocs.store.files import make_directory, write_bytes_atomic

Row = dict[str, Any]


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


def result_tables(results: Mapping[str, Any]) -> dict[str, list[Row]]:
    """Table name -> flat rows; every table is there, though it may be empty."""
    sets = results["sets"]
    benchmarks = results.get("benchmarks") or {"tasks": [], "rows": [], "scores": []}
    searches = results.get("searches") or []
    derived = derived_tables(results)
    return {
        "arms": [_flat(row, skip=("seeds",)) for row in results["arms"]],
        "other_students": [{"arm": arm, "differs": what} for arm, what in results.get("other_students", {}).items()],
        "runs": [_flat(row, skip=("losses",)) for row in results["runs"]],
        "run_losses": [
            {"arm": run["arm"], "seed": run["seed"], **_flat(row)} for run in results["runs"] for row in run["losses"]
        ],
        "losses": _per_set(sets, "losses", skip=("seeds",)),
        "differences": _per_set(sets, "differences", skip=("seeds", "seed_differences")),
        "pairs": _per_set(sets, "pairs", skip=("seeds", "seed_differences")),
        "real_curve": _per_set(sets, "curve"),
        "data_efficiency": _per_set(sets, "data_efficiency"),
        "data_efficiency_by_law": _per_set(sets, "data_efficiency_by_law", skip=("by_asymptote",)),
        "laws": _per_set(sets, "laws", skip=("points", "residuals", "leave_one_out")),
        "law_points": _law_points(sets),
        "laws_without_one_size": [
            {"name": law["name"], "x_name": law["x_name"], **_flat(row)}
            for block in sets
            for law in block.get("laws", ())
            for row in law.get("leave_one_out", ())
        ],
        "seeds_needed": _per_set(sets, "seeds_needed"),
        "missing": [_flat(row) for row in results["missing"]],
        "positions": _position_rows(results.get("positions", ())),
        "ensembles": [_flat(row) for row in results.get("ensembles", ())],
        "ensemble_laws": [
            _flat(row, skip=("points", "residuals", "leave_one_out")) for row in results.get("ensemble_laws", ())
        ],
        "benchmarks": [_benchmark_row(row, benchmarks["tasks"]) for row in benchmarks["rows"]],
        "benchmark_scores": [_flat(row) for row in benchmarks["scores"]],
        "searches": [_flat(row, skip=("axes", "seeds", "trials", "by_seed")) for row in searches],
        "search_neighbours": [
            {"search": row["search"], "arm": row["arm"], **_flat(line)}
            for row in searches
            for line in row["certificate"]["neighbours"]
        ],
        "search_trials": [
            {"search": row["search"], "arm": row["arm"], **_flat(trial)} for row in searches for trial in row["trials"]
        ],
        "generations": [_flat(row) for row in results.get("generations", ())],
        "streams": [_flat(row) for row in results.get("streams", ())],
        **_audit_tables(results.get("audit")),
        "compute": [_flat(row, skip=("seed_differences",)) for row in derived["compute"]],
        "best_settings": [_settings_row(row) for row in derived["best_settings"]],
        "controlled_against_tuned": [_settings_row(row) for row in derived["controlled_against_tuned"]],
        "student_scaling": [_flat(row, skip=("seed_differences",)) for row in derived["student_scaling"]],
        "paper_figures": [_flat(row) for row in derived["paper_figures"]],
    }


def _law_points(sets: Iterable[Mapping[str, Any]]) -> list[Row]:
    """Every run that a law was fitted to, with its residual where there is a fit."""
    return [
        {"name": law["name"], "x_name": law["x_name"], **_flat(point), "residual": _cell(residual)}
        for block in sets
        for law in block.get("laws", ())
        for point, residual in zip(law["points"], law.get("residuals") or [None] * len(law["points"]), strict=True)
    ]


def _position_rows(tables: Sequence[Mapping[str, Any]]) -> list[Row]:
    """One row per set, arm, seed and range of positions."""
    return [
        {
            "set": table["set"],
            "arm": row["arm"],
            "seed": seed["seed"],
            "from_position": place["from"],
            "to_position": place["to"],
            "num_tokens": place["num_tokens"],
            "loss": _cell(loss),
            "record": seed["record"],
        }
        for table in tables
        for row in table["arms"]
        for seed in row["seeds"]
        for place, loss in zip(table["ranges"], seed["losses"], strict=True)
    ]


def _benchmark_row(row: Mapping[str, Any], tasks: Sequence[str]) -> Row:
    cells = dict(zip((f"accuracy_{task}" for task in tasks), row["cells"], strict=True))
    cut = dict(zip((f"truncated_{task}" for task in tasks), row.get("truncated", [0] * len(tasks)), strict=True))
    return {**_flat(row, skip=("cells", "truncated", "seed_errors")), **cells, **cut}


def _settings_row(row: Mapping[str, Any]) -> Row:
    """Lists of settings as one column each."""
    flat = _flat({key: value for key, value in row.items() if not isinstance(value, list)})
    for key, values in row.items():
        if isinstance(values, list):
            flat |= {f"{key}_{name}": value for name, value in zip(SETTINGS, values, strict=True)}
    return flat


def _audit_tables(audit: Mapping[str, Any] | None) -> dict[str, list[Row]]:
    if audit is None:
        return {"audit_overlap": [], "audit_tasks": []}
    return {
        "audit_overlap": [
            {"set": name, "ngram": audit["ngram"], **_flat(row)} for name, row in audit["overlap"].items()
        ],
        "audit_tasks": [{"task": task, **_flat(row, skip=("top_openings",))} for task, row in audit["tasks"].items()],
    }


def csv_bytes(rows: Sequence[Row]) -> bytes:
    """Rows as CSV in UTF-8 with a header; columns in order of first appearance."""
    text = io.StringIO()
    writer = csv.DictWriter(text, _columns(rows), restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode("utf-8")


def parquet_bytes(rows: Sequence[Row]) -> bytes:
    """Rows as Parquet; columns of numbers are float64 or int64, everything else is text."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    arrays = {name: _array(pa, [row.get(name) for row in rows]) for name in _columns(rows)}
    sink = io.BytesIO()
    pq.write_table(pa.table(arrays), sink)
    return sink.getvalue()


def write_tables(results: Mapping[str, Any], directory: Path) -> list[Path]:
    """Write every table that has rows, as `<name>.csv` and `<name>.parquet`; returns the files in order of name."""
    make_directory(directory)
    written = []
    for name, rows in sorted(result_tables(results).items()):
        if not rows:
            continue
        for suffix, data in (("csv", csv_bytes(rows)), ("parquet", parquet_bytes(rows))):
            path = directory / f"{name}.{suffix}"
            write_bytes_atomic(path, data)
            written.append(path)
    return written


def _per_set(sets: Iterable[Mapping[str, Any]], key: str, skip: Sequence[str] = ()) -> list[Row]:
    return [
        {"set": block["set"], "mode": block["mode"], **_flat(row, skip=skip)}
        for block in sets
        for row in block.get(key, ())
    ]


def _flat(row: Mapping[str, Any], *, skip: Sequence[str] = (), prefix: str = "") -> Row:
    flat: Row = {}
    for name, value in row.items():
        if name in skip:
            continue
        key = f"{prefix}{name}"
        if isinstance(value, Mapping):
            flat |= _flat(value, prefix=f"{key}_")
        elif isinstance(value, list) and len(value) == 2 and name not in ("seeds",):
            flat[f"{key}_lower"], flat[f"{key}_upper"] = (_cell(item) for item in value)
        elif not isinstance(value, list):
            flat[key] = _cell(value)
    return flat


def _cell(value: Any) -> Any:
    return number_of(value) if value in ("NaN", "Infinity", "-Infinity") else value


def _columns(rows: Sequence[Row]) -> list[str]:
    return list(dict.fromkeys(name for row in rows for name in row))


def _array(pa: Any, values: Sequence[Any]) -> Any:
    """Numbers stay numbers; a column of mixed types becomes text."""
    kinds = {type(value) for value in values if value is not None}
    if kinds == {int, float}:
        return pa.array([None if value is None else float(value) for value in values], pa.float64())
    if len(kinds) <= 1:
        return pa.array(values) if kinds else pa.nulls(len(values), pa.string())
    return pa.array([None if value is None else str(value) for value in values], pa.string())
