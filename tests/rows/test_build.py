"""Building rows: what stands in the segments, what grows, what is missing, what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from megadocs.documents import Document
from megadocs.errors import InputError
from megadocs.rows import (
    SourceRow,
    build_real_rows,
    build_rows,
    build_sampled_rows,
    build_stretched_rows,
    open_rows,
)
from megadocs.rows.manifest import RowsManifest
from rows.helpers import CharacterTokenizer, decode, documents, rephrase, thought, write_export


def texts(manifest: RowsManifest, segments: Path) -> list[str]:
    store = open_rows([manifest], segments)
    table = store.table
    return [
        decode(store.tokens[table.segment[row]][table.start[row] : table.start[row] + table.num_tokens[row]])
        for row in range(len(table))
    ]


def test_real_rows_hold_each_document_between_separators(tmp_path: Path) -> None:
    manifest = build_real_rows(reversed(documents(3)), CharacterTokenizer(), tmp_path)
    assert texts(manifest, tmp_path) == [f"[text of document {number}]" for number in range(3)]
    assert (manifest.num_rows, manifest.num_tokens) == (3, 3 * 20)


def test_files_open_with_numpy_alone(tmp_path: Path) -> None:
    manifest = build_real_rows(documents(3), CharacterTokenizer(), tmp_path)
    directory = tmp_path / manifest.segments[0].name
    tokens, offsets = np.fromfile(directory / "tokens.bin", "<u2"), np.load(directory / "offsets.npy")
    assert decode(tokens[offsets[1] : offsets[2]]) == "[text of document 1]"
    wide = build_real_rows(documents(3), CharacterTokenizer(70_000), tmp_path)
    assert np.array_equal(np.fromfile(tmp_path / wide.segments[0].name / "tokens.bin", "<u4"), tokens)


def test_one_separator_where_the_tokenizer_has_one(tmp_path: Path) -> None:
    manifest = build_real_rows(documents(1), CharacterTokenizer(has_bos=False), tmp_path)
    assert texts(manifest, tmp_path) == ["text of document 0]"]
    assert manifest.separators_per_row == 1


def test_rephrases_grown_from_two_to_four_equal_four_from_scratch(tmp_path: Path) -> None:
    records = [rephrase(document.id, g) for document in documents() for g in range(4)]
    two = write_export(tmp_path / "two.parquet", [record for record in records if record["generation"] < 2])
    four = write_export(tmp_path / "four.parquet", records)
    grown, scratch = tmp_path / "grown", tmp_path / "scratch"
    small = build_sampled_rows("rephrase", two, CharacterTokenizer(), grown)
    before = {path: path.read_bytes() for path in grown.rglob("*") if path.is_file()}
    large = build_sampled_rows("rephrase", four, CharacterTokenizer(), grown)
    again = build_sampled_rows("rephrase", four, CharacterTokenizer(), scratch)
    assert large == again
    assert large.segments[:2] == small.segments
    assert all(path.read_bytes() == content for path, content in before.items())
    files = [
        {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}
        for root in (grown, scratch)
    ]
    assert files[0] == files[1]
    assert build_sampled_rows("rephrase", four, CharacterTokenizer(), grown, num_generations=2) == small


def test_stretched_rows_hold_thoughts_at_their_characters(tmp_path: Path) -> None:
    text = "abcdef"
    export = write_export(
        tmp_path / "g.parquet",
        [
            thought("d", 0, 2, "one", num_generations=2),
            thought("d", 1, 4, "two", num_generations=2),
            thought("d", 0, 3, "half", num_generations=1),
            thought("e", 0, 1, "lost", num_generations=2, status="failed"),
            thought("e", 1, 2, "kept", num_generations=2),
        ],
    )
    pair = [Document("e", "xyz"), Document("d", text)]
    build = lambda **options: build_stretched_rows(  # noqa: E731
        pair, export, CharacterTokenizer(), tmp_path / "s", **{"num_generations": 2, **options}
    )
    manifest = build()
    assert texts(manifest, tmp_path / "s") == [
        "[ab<think>one</think>cd<think>two</think>ef]",
        "[xy<think>kept</think>z]",
    ]
    assert (manifest.missing[0].wanted, manifest.missing[0].missing, manifest.missing[0].documents) == (4, 1, ("e",))
    table = open_rows([manifest], tmp_path / "s").table
    assert table.extra["num_missing_thoughts"].tolist() == [0, 1]
    assert table.generation.tolist() == [2, 2]
    assert texts(build(num_generations=1), tmp_path / "s") == ["[abc<think>half</think>def]", "[xyz]"]
    appended = build(kind="thoughts_appended", think_open="(", think_close=")")
    assert texts(appended, tmp_path / "s") == ["[abcdef(one)(two)]", "[xyz(kept)]"]
    with pytest.raises(InputError, match="no thought of G = 8"):
        build(num_generations=8)


def test_missing_and_empty_generations_are_left_out_and_counted(tmp_path: Path) -> None:
    records = [rephrase(document.id, g) for document in documents() for g in range(2)]
    records[1]["status"], records[2]["text"] = "rejected", " \n"
    export = write_export(tmp_path / "g.parquet", records)
    manifest = build_sampled_rows("rephrase", export, CharacterTokenizer(), tmp_path)
    count = manifest.missing[0]
    assert (count.wanted, count.missing, count.num_documents, count.documents) == (6, 2, 2, ("d0", "d1"))
    assert manifest.num_rows == 4
    manifest.save(tmp_path / "rows.json")
    assert RowsManifest.load(tmp_path / "rows.json") == manifest
    assert json.loads((tmp_path / "rows.json").read_text())["num_tokens"] == manifest.num_tokens


def test_self_distilled_samples_need_no_document(tmp_path: Path) -> None:
    records = [{**rephrase("x", g), "document_id": None, "identity": f"s{g}", "kind": "sample"} for g in range(9)]
    manifest = build_sampled_rows(
        "self_distilled", write_export(tmp_path / "g.parquet", records), CharacterTokenizer(), tmp_path
    )
    assert [segment.num_rows for segment in manifest.segments] == [1, 1, 2, 4, 1]
    assert sorted(open_rows([manifest], tmp_path).table.document_ids) == [f"s{g}" for g in range(9)]


def test_thoughts_that_no_record_tells_of_are_missing_too(tmp_path: Path) -> None:
    export = write_export(tmp_path / "g.parquet", [thought("d", 0, 9, "one", num_generations=4)])
    pair = [Document("d", "a text of more than forty characters, surely"), Document("e", "short")]
    manifest = build_stretched_rows(pair, export, CharacterTokenizer(), tmp_path, num_generations=4)
    assert open_rows([manifest], tmp_path).table.extra["num_missing_thoughts"].tolist() == [3, 0]


@pytest.mark.parametrize("num_workers", [2, 4])
def test_the_number_of_workers_changes_no_byte(tmp_path: Path, num_workers: int) -> None:
    rows = [SourceRow(f"{n:05d}", "real", 0, "x" * (1 + n % 700)) for n in range(3000)]
    names = {
        build_rows(rows, CharacterTokenizer(), tmp_path / str(workers), num_workers=workers).segments[0].name
        for workers in (1, num_workers)
    }
    assert len(names) == 1


@pytest.mark.parametrize(
    "rows, message",
    [
        ([], "no rows to build"),
        ([SourceRow("a", "real", 0, "")], "is empty"),
        ([SourceRow("a", "real", 0, "x"), SourceRow("a", "real", 0, "y")], "belong to one document"),
        ([SourceRow("a", "real", 0, "x\x02y")], "hold 3 separators instead of 2"),
        ([SourceRow("a", "real", 0, "ő")], "outside the vocabulary"),
    ],
)
def test_bad_rows_are_refused_and_leave_nothing(tmp_path: Path, rows: list[SourceRow], message: str) -> None:
    with pytest.raises(InputError, match=message):
        build_rows(rows, CharacterTokenizer(), tmp_path / "s")
    assert not list((tmp_path / "s").glob("*")) if (tmp_path / "s").exists() else True


def test_a_split_point_outside_the_text_is_refused(tmp_path: Path) -> None:
    export = write_export(tmp_path / "g.parquet", [thought("d", 0, 99, "one", num_generations=1)])
    with pytest.raises(InputError, match="character 99 lies outside a text of 6"):
        build_stretched_rows([Document("d", "abcdef")], export, CharacterTokenizer(), tmp_path, num_generations=1)


def test_bad_exports_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot read the generations"):
        build_sampled_rows("rephrase", tmp_path / "none.parquet", CharacterTokenizer(), tmp_path)
    (tmp_path / "torn.parquet").write_bytes(b"PAR1 not really")
    with pytest.raises(InputError, match="cannot read the generations"):
        build_sampled_rows("rephrase", tmp_path / "torn.parquet", CharacterTokenizer(), tmp_path)
    export = write_export(tmp_path / "g.parquet", [rephrase("d0", 0)])
    with pytest.raises(InputError, match="rows of 3 generations"):
        build_sampled_rows("rephrase", export, CharacterTokenizer(), tmp_path, num_generations=3)
