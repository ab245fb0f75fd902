"""Whatever a source holds and the corpus does not is counted and named, and stops the run above a share."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from megadocs.corpus import iter_documents, loss_lines, split_documents
from megadocs.errors import InputError
from megadocs.recipe import CorpusConfig


def text(number: int) -> str:
    return f"Document {number} speaks of rivers and bridges and what stands between them, {number} times over."


def lines(path: Path, numbers: range, **fields: Any) -> None:
    rows = [{"text": text(number), **{name: make(number) for name, make in fields.items()}} for number in numbers]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def report(source: Path | str, **settings: Any) -> dict[str, Any]:
    config = CorpusConfig(source=str(source), max_rejected_fraction=1.0, **settings)
    return split_documents(iter_documents(config), config).report


def _rejected_records(folder: Path) -> None:
    with (folder / "a.jsonl").open("a") as file:
        file.writelines(json.dumps({"text": None}) + "\n" for _ in range(20))


def _other_kinds(folder: Path) -> None:
    (folder / "b.csv").write_text("text\n" + "\n".join(text(number) for number in range(50)))


def _same_ids(folder: Path) -> None:
    lines(folder / "a.jsonl", range(40), id=lambda number: number)
    lines(folder / "b.jsonl", range(40, 80), id=lambda number: number - 40)


def _pointers(folder: Path) -> None:
    for number in range(4):
        (folder / f"{number}.txt").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n")


def _annexed(folder: Path) -> None:
    for number in range(4):
        (folder / f"{number}.parquet").write_text("/annex/objects/SHA256E-s9--0.parquet\n")


def _dangling(folder: Path) -> None:
    for number in range(4):
        (folder / f"{number}.jsonl").symlink_to(folder / "nowhere")


def _utf16(folder: Path) -> None:
    for number in range(4):
        (folder / f"{number}.txt").write_bytes(text(number).encode("utf-16-le"))


def _utf16_lines(folder: Path) -> None:
    (folder / "b.jsonl").write_bytes(
        "".join(json.dumps({"text": text(n)}) + "\n" for n in range(9)).encode("utf-16-be")
    )


def _null_shard(folder: Path) -> None:
    pq.write_table(pa.table({"text": pa.nulls(9)}), folder / "b.parquet")


KINDS: dict[str, tuple[Callable[[Path], None], dict[str, Any], str]] = {
    "rejected records": (
        _rejected_records,
        {},
        "20 of 60 records were left out (missing_text 20); the first: a.jsonl:41",
    ),
    "files of other kinds": (_other_kinds, {}, "1 of 2 files are of a kind that is not read: b.csv"),
    "ids of other texts": (
        _same_ids,
        {"id_field": "id"},
        "40 documents were left out because another text has their id",
    ),
    "pointers of Git LFS": (_pointers, {}, "4 of 44 records were left out (pointer_file 4); the first: 0.txt"),
    "pointers of git-annex": (_annexed, {}, "4 of 44 records were left out (pointer_file 4); the first: 0.parquet"),
    "dangling links": (_dangling, {}, "4 of 44 records were left out (dangling_link 4); the first: 0.jsonl"),
    "UTF-16 text": (_utf16, {}, "4 of 44 records were left out (looks_like_utf16 4); the first: 0.txt"),
    "UTF-16 lines": (_utf16_lines, {}, "left out (looks_like_utf16"),
    "a shard of nulls": (_null_shard, {}, "9 of 49 records were left out (missing_text 9); the first: b.parquet:1"),
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_loss_is_said_and_stops_the_run(tmp_path: Path, kind: str) -> None:
    spoil, settings, sentence = KINDS[kind]
    lines(tmp_path / "a.jsonl", range(40))
    spoil(tmp_path)
    assert any(sentence in line for line in loss_lines(report(tmp_path, **settings)))
    config = CorpusConfig(source=str(tmp_path), **settings)
    with pytest.raises(InputError) as refused:
        split_documents(iter_documents(config), config)
    assert sentence in refused.value.what
    assert "corpus.max_rejected_fraction=" in (refused.value.remedy or "")
    named = next(part for part in (refused.value.remedy or "").split() if part.startswith("corpus.max"))
    allowed = CorpusConfig(source=str(tmp_path), max_rejected_fraction=float(named.partition("=")[2]), **settings)
    assert split_documents(iter_documents(allowed), allowed).train  # the remedy that is named does it


def test_a_small_loss_is_said_and_allowed(tmp_path: Path) -> None:
    lines(tmp_path / "a.jsonl", range(99))
    with (tmp_path / "a.jsonl").open("a") as file:
        file.write('{"text": ""}\n')
    (tmp_path / "LICENSE").write_text("free")
    config = CorpusConfig(source=str(tmp_path))
    found = split_documents(iter_documents(config), config).report
    assert len(list(loss_lines(found))) == 2


def test_nothing_lost_nothing_said(tmp_path: Path) -> None:
    lines(tmp_path / "a.jsonl", range(40), id=str)
    lines(tmp_path / "b.jsonl", range(40), id=str)  # the same documents once more are no loss
    assert list(loss_lines(report(tmp_path, id_field="id"))) == []


def test_linked_folders_are_read_each_once(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "other").mkdir()
    lines(tmp_path / "in" / "a.jsonl", range(40))
    lines(tmp_path / "other" / "b.jsonl", range(40, 80))
    (tmp_path / "in" / "linked").symlink_to("../other")
    (tmp_path / "other" / "back").symlink_to("../in")  # round in a circle
    found = report(tmp_path / "in")
    assert (found["num_documents"], found["num_distinct_documents"]) == (80, 80)


def test_names_in_other_letter_cases_are_the_same_kinds(tmp_path: Path) -> None:
    import gzip

    import zstandard

    data = [b"".join(json.dumps({"text": text(n)}).encode() + b"\n" for n in range(s, s + 40)) for s in (0, 40, 80)]
    (tmp_path / "a.JSONL").write_bytes(data[0])
    (tmp_path / "b.jsonl.GZ").write_bytes(gzip.compress(data[1]))
    (tmp_path / "c.Jsonl.ZST").write_bytes(zstandard.compress(data[2]))
    pq.write_table(pa.table({"text": [text(number) for number in range(120, 160)]}), tmp_path / "d.PARQUET")
    (tmp_path / "e.TXT").write_text(text(160))
    found = report(tmp_path)
    assert (found["num_documents"], found["rejected"]) == (161, {})


def test_a_column_named_twice_is_refused(tmp_path: Path) -> None:
    column = pa.array([text(number) for number in range(40)])
    pq.write_table(pa.Table.from_arrays([column, column], names=["text", "text"]), tmp_path / "a.parquet")
    with pytest.raises(InputError, match="2 columns are named 'text'"):
        report(tmp_path)


def test_a_cache_that_holds_a_part_is_refused() -> None:
    from megadocs.corpus.hub import HubDataset, _refuse_part

    names = [f"data/train-{number:05d}-of-00004.parquet" for number in (0, 1, 3)]
    whole = [f"data/test-{number:05d}-of-00002.parquet" for number in range(2)]
    with pytest.raises(InputError, match=r"3 of 4 files data/train-\*; number 2 is absent"):
        _refuse_part([*names, *whole], HubDataset("a/b", None, None))
    _refuse_part([*names, *whole], HubDataset("a/b", None, "test"))
