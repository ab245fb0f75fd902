"""Rows from Parquet and JSON lines."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from megadocs.errors import InputError
from megadocs.rows import SourceRow, build_rows, iter_text_rows
from rows.helpers import CharacterTokenizer

RECORDS = [{"id": f"d{n}", "text": f"text {n}", "generation": n % 2, "other": None} for n in range(10)]


def test_both_forms_give_the_same_rows(tmp_path: Path) -> None:
    pq.write_table(pa.Table.from_pylist(RECORDS), tmp_path / "r.parquet")
    (tmp_path / "r.jsonl").write_text("".join(json.dumps(record) + "\n" for record in RECORDS))
    options = {"kind": "rephrase", "generation_field": "generation"}
    parquet, lines = (list(iter_text_rows(tmp_path / name, **options)) for name in ("r.parquet", "r.jsonl"))
    assert parquet == lines
    assert parquet[3] == SourceRow("d3", "rephrase", 1, "text 3")
    names = {build_rows(rows, CharacterTokenizer(), tmp_path / "s").fingerprint for rows in (parquet, lines)}
    assert len(names) == 1


@pytest.mark.parametrize(
    "name, content, message",
    [
        ("r.txt", b"", "from .parquet and .jsonl"),
        ("none.jsonl", None, "cannot read the rows"),
        ("none.parquet", None, "cannot read the rows"),
        ("torn.parquet", b"PAR1", "cannot read the rows"),
        ("torn.jsonl", b'{"id": 1, "te', "not JSON lines"),
        ("list.jsonl", b"[1]\n", "line 1 is not a JSON object"),
        ("field.jsonl", b'{"id": 1, "body": "x"}\n', "record 1 has no field 'text'"),
    ],
)
def test_bad_files_are_refused(tmp_path: Path, name: str, content: bytes | None, message: str) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=message):
        list(iter_text_rows(tmp_path / name))
