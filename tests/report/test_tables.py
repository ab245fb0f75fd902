"""CSV and Parquet of every table."""

from __future__ import annotations

import csv
import io
import math
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from megadocs.report.tables import csv_bytes, parquet_bytes, result_tables, write_tables

from .fixtures_report import make_inputs


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
