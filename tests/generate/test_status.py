from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from megadocs.documents import Document
from megadocs.errors import DamagedError
from megadocs.generate import export_generations, plan_requests, run_generation
from megadocs.generate.compaction import compact_ledger, restore_ledger
from megadocs.generate.ledger import load_index, segment_paths
from megadocs.generate.status import describe_ledger, read_accounting
from megadocs.recipe import GenerateConfig
from megadocs.store.framed_log import iter_frames

Documents = Callable[..., list[Document]]
Config = Callable[..., GenerateConfig]


def test_status_agrees_with_the_run_and_sees_what_is_missing(
    tmp_path: Path, config: Config, documents: Documents
) -> None:
    odd = config(options={"odd": "empty:0.2,truncated:0.3", "broken": 0.1})
    books = run_generation(odd, "rephrase", documents(20), tmp_path / "l", lambda _: None, lambda: False)
    status = read_accounting(odd, "rephrase", documents(20), tmp_path / "l")
    for name in (
        "requested",
        "ok",
        "rejected",
        "failed",
        "skipped",
        "pending",
        "prompt_tokens",
        "new_tokens",
        "flags",
        "errors",
    ):
        assert getattr(status, name) == getattr(books, name), name
    more = read_accounting(odd, "rephrase", documents(30), tmp_path / "l")
    assert (more.requested, more.pending) == (60, 20)
    assert describe_ledger(tmp_path / "l")["num_records"] == 40
    assert read_accounting(odd, "rephrase", documents(5), tmp_path / "none").pending == 10


def test_compaction_round_trip(tmp_path: Path, config: Config, documents: Documents) -> None:
    odd = config(options={"odd": "truncated:0.3,reasoning:0.3,control:0.2", "broken": 0.1})
    run_generation(odd, "thought", documents(20), tmp_path / "l", lambda _: None, lambda: False)
    run_generation(
        odd, "thought", documents(20), tmp_path / "l", lambda _: None, lambda: False, reopened=frozenset({"failed"})
    )
    assert load_index(tmp_path / "l").num_superseded > 0
    assert compact_ledger(tmp_path / "l", tmp_path / "c.parquet") == 60
    assert pq.read_metadata(tmp_path / "c.parquet").num_rows == 60
    assert restore_ledger(tmp_path / "c.parquet", tmp_path / "back") == 60
    assert restore_ledger(tmp_path / "c.parquet", tmp_path / "back") == 0
    original = {frame for path in segment_paths(tmp_path / "l") for frame in iter_frames(path)}
    restored = {frame for path in segment_paths(tmp_path / "back") for frame in iter_frames(path)}
    assert restored <= original
    for name in ("l", "back"):
        requests = plan_requests(odd, "thought", documents(20))
        export_generations(requests, tmp_path / name, tmp_path / f"{name}.parquet")
    assert (tmp_path / "l.parquet").read_bytes() == (tmp_path / "back.parquet").read_bytes()
    (tmp_path / "bad.parquet").write_bytes(b"PAR1 not really PAR1")
    with pytest.raises(DamagedError):
        restore_ledger(tmp_path / "bad.parquet", tmp_path / "back")
