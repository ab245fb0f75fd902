"""Every table of the report as CSV and Parquet, for people who want to draw their own figures.

    write_tables(results, workspace.root / "tables")      # losses.csv, losses.parquet, differences.csv, ...

Rows are flat: an interval is two columns, a multiplier is a value and a relation ("equal", "more than", "less than").
Numbers keep the results' digits; NaN is NaN, a missing value is empty. The same results give the same CSV bytes.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from megadocs.report.section import Row
from megadocs.report.sections import SECTIONS
from megadocs.store.files import make_directory, write_bytes_atomic


def result_tables(results: Mapping[str, Any]) -> dict[str, list[Row]]:
    """Table name -> flat rows, of all sections; every table is there, though it may be empty."""
    return {name: rows for section in SECTIONS for name, rows in section.tables(results).items()}


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
