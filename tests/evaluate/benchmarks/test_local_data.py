"""Local records: every damaged one is named by its number, for every column of every benchmark."""

from __future__ import annotations

import gzip
import json

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from benchmark_records import RECORDS, write_lines
from megadocs.errors import DamagedError, InputError
from megadocs.evaluate.benchmarks import tasks
from megadocs.evaluate.benchmarks.local_data import check_records, data_digest, read_records

COLUMNS = {name: yaml.safe_load((tasks._OWN / f"{name}.yaml").read_text())["columns"] for name in RECORDS}
CASES = [(name, column) for name, columns in COLUMNS.items() for column in columns]
#: What no column may hold; JSON values.
BAD = [None, 5.5, True, {}, [], [None], ["\ud800"], "\ud800 a", {"text": [1], "label": ["A"]}]


@pytest.mark.parametrize("name", sorted(RECORDS))
def test_whole_records_pass(name):
    check_records(RECORDS[name], COLUMNS[name], "x.jsonl")


@pytest.mark.parametrize("bad", BAD, ids=repr)
@pytest.mark.parametrize(("name", "column"), CASES)
def test_a_damaged_column_is_refused_with_the_records_number(name, column, bad):
    records = [*RECORDS[name][:2], {**RECORDS[name][2], column: bad}]
    with pytest.raises(InputError, match="record 2: ") as error:
        check_records(records, COLUMNS[name], "x.jsonl")
    assert error.value.where == "x.jsonl"


@pytest.mark.parametrize(("name", "column"), CASES)
def test_an_absent_column_is_refused(name, column):
    record = {key: value for key, value in RECORDS[name][0].items() if key != column}
    with pytest.raises(InputError, match=f"record 0: has no '{column}'"):
        check_records([record], COLUMNS[name], "x.jsonl")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=4,
)


@given(st.sampled_from(CASES), JSON)
def test_any_value_passes_or_is_refused_by_name(case, value):
    name, column = case
    try:
        check_records([{**RECORDS[name][0], column: value}], COLUMNS[name], "x.jsonl")
    except InputError as error:
        named = error.what.startswith("record 0: ")
    else:
        named = True
    assert named


def test_every_form_of_a_file_gives_the_same_records(tmp_path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    records = RECORDS["piqa"]
    plain = write_lines(tmp_path / "a.jsonl", records)
    (tmp_path / "b.jsonl.gz").write_bytes(gzip.compress(plain.read_bytes()))
    pq.write_table(pa.Table.from_pylist(records), tmp_path / "c.parquet")
    assert [read_records(tmp_path / name) for name in ("a.jsonl", "b.jsonl.gz", "c.parquet")] == [records] * 3
    assert read_records(tmp_path) == records * 3
    assert data_digest(tmp_path) != data_digest(plain)


def test_a_line_separator_inside_a_text_ends_no_record(tmp_path):
    record = {**RECORDS["piqa"][0], "goal": "a\u2028b"}
    (tmp_path / "a.jsonl").write_text(json.dumps(record, ensure_ascii=False) + "\n")
    assert read_records(tmp_path / "a.jsonl") == [record]


def test_unreadable_files_are_named(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"goal": "x"}\n{"goal": \n')
    with pytest.raises(DamagedError, match="line 2"):
        read_records(tmp_path / "a.jsonl")
    (tmp_path / "b.jsonl.gz").write_bytes(b"no gzip")
    (tmp_path / "c.parquet").write_bytes(b"no parquet")
    for name in ("b.jsonl.gz", "c.parquet"):
        with pytest.raises(DamagedError, match="cannot read benchmark data"):
            read_records(tmp_path / name)
    (tmp_path / "d.jsonl").write_text("\n")
    with pytest.raises(InputError, match="no records"):
        read_records(tmp_path / "d.jsonl")
    with pytest.raises(InputError, match="no benchmark data here"):
        read_records(tmp_path / "e.txt")
