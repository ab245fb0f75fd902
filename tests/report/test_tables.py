"""CSV and Parquet of every table."""

from __future__ import annotations

import csv
import io
import math
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from megadocs.report.tables import csv_bytes, parquet_bytes, result_tables, write_tables

from .fixtures_report import make_complete_inputs, make_inputs


@pytest.fixture(scope="module")
def results() -> dict:
    return dict(make_inputs().results)


def test_csv_and_parquet_hold_the_same_numbers(results: dict, tmp_path: Path) -> None:
    files = {path.name for path in write_tables(results, tmp_path)}
    assert {"losses.csv", "losses.parquet", "differences.csv", "data_efficiency.parquet", "laws.csv"} <= files
    assert "missing.csv" not in files
    for path in sorted(tmp_path.glob("*.csv")):
        with path.open(newline="") as handle:
            rows = list(csv.DictReader(handle))
        table = pq.read_table(path.with_suffix(".parquet"))
        assert table.num_rows == len(rows)
        assert table.column_names == list(rows[0])
    losses = pq.read_table(tmp_path / "losses.parquet").to_pylist()
    first = results["sets"][0]["losses"][0]
    assert losses[0]["loss"] == first["loss"]
    assert [losses[0]["interval_lower"], losses[0]["interval_upper"]] == first["interval"]


def test_every_table_of_the_page(tmp_path: Path) -> None:
    results = dict(make_complete_inputs().results)
    tables = result_tables(results)
    empty = {name for name, rows in tables.items() if not rows}
    assert empty == {"missing", "generations", "other_students", "streams", "student_scaling"}
    assert tables["ensembles"][1] | {"record": None} == {
        "ensemble": "real_only_x4",
        "arm": "real_only",
        "set": "test",
        "mode": "windowed",
        "average": "logits",
        "num_members": 2,
        "num_subsets": 1,
        "loss": pytest.approx(6.2),
        "standard_deviation": None,
        "record": None,
    }
    assert tables["benchmarks"][0]["accuracy_sciq"] == pytest.approx(0.61)
    assert tables["searches"][0]["certificate_kind"] == "edge"
    assert tables["search_trials"][0]["setting_train.weight_decay"] == 0.8
    assert tables["audit_overlap"][0]["ngram_share_synthetic_only"] == 0.0005
    assert tables["audit_tasks"][0]["finish_reason_length"] == 33
    assert {row["reference"] for row in tables["compute"] if row["arm"] == "stitched_g2"} == {"simple_g2"}
    assert any(row["is_published"] and row["y"] == 3.4620 for row in tables["paper_figures"])
    assert tables["best_settings"][0]["own_planned_real_epochs"] == 8
    written = {path.name for path in write_tables(results, tmp_path)}
    assert {"paper_figures.csv", "paper_figures.parquet", "search_trials.csv"} <= written


def test_multipliers_keep_their_relation(results: dict) -> None:
    row = result_tables(results)["data_efficiency"][0]
    assert row["estimate_relation"] == "equal"
    assert row["lower_value"] < row["estimate_value"] < row["upper_value"]


def test_nan_missing_and_mixed_columns() -> None:
    rows = [{"arm": "a", "x": math.nan, "y": 1}, {"arm": "b", "x": None, "y": "two"}, {"arm": "c", "z": 3}]
    read = list(csv.DictReader(io.StringIO(csv_bytes(rows).decode())))
    assert [row["x"] for row in read] == ["nan", "", ""]
    table = pq.read_table(io.BytesIO(parquet_bytes(rows))).to_pylist()
    assert math.isnan(table[0]["x"])
    assert (table[1]["x"], table[0]["y"], table[1]["y"], table[2]["z"]) == (None, "1", "two", 3)


def test_same_results_same_bytes(results: dict) -> None:
    again = result_tables(make_inputs().results)
    assert {name: csv_bytes(rows) for name, rows in result_tables(results).items()} == {
        name: csv_bytes(rows) for name, rows in again.items()
    }


def test_points_of_laws_and_laws_without_one_size() -> None:
    point = {"x": 1.0, "loss": 5.0}
    law = {"name": "simple", "x_name": "num_generations", "points": [point, {"x": 2.0, "loss": 4.0}]}
    fitted = {**law, "residuals": [0.1, -0.1], "leave_one_out": [{"left_out": 2.0, "asymptote": 3.5}]}
    results = make_complete_inputs().results
    block = {**results["sets"][0], "laws": [fitted, {**law, "name": "short"}]}
    tables = result_tables({**results, "sets": [block, *results["sets"][1:]]})
    key = {"x_name": "num_generations"}
    assert tables["law_points"] == [
        {"name": "simple", **key, "x": 1.0, "loss": 5.0, "residual": 0.1},
        {"name": "simple", **key, "x": 2.0, "loss": 4.0, "residual": -0.1},
        {"name": "short", **key, "x": 1.0, "loss": 5.0, "residual": None},
        {"name": "short", **key, "x": 2.0, "loss": 4.0, "residual": None},
    ]
    assert tables["laws_without_one_size"] == [{"name": "simple", **key, "left_out": 2.0, "asymptote": 3.5}]
