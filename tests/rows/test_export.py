"""Exports opened with numpy, with pyarrow, and byte by byte as Megatron's format says."""

from __future__ import annotations

import itertools
import json
import struct
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import yaml

from megadocs.errors import InputError
from megadocs.rows import RowStore, build_real_rows, build_sampled_rows, export_stream, open_rows, push_export
from rows.helpers import CharacterTokenizer, decode, documents, rephrase, write_export


@pytest.fixture(params=[300, 70_000])
def store(tmp_path: Path, request: pytest.FixtureRequest) -> RowStore:
    tokenizer = CharacterTokenizer(request.param)
    export = write_export(tmp_path / "g.parquet", [rephrase(d.id, g) for d in documents(5) for g in range(2)])
    manifests = [
        build_real_rows(documents(5), tokenizer, tmp_path / "s"),
        build_sampled_rows("rephrase", export, tokenizer, tmp_path / "s"),
    ]
    return open_rows(manifests, tmp_path / "s")


def stitched_order(store: RowStore) -> np.ndarray:
    """Documents in turn: two rephrases, then the real row (rows 0-4 real, 5-9 first, 10-14 second rephrase)."""
    return np.array([row for number in (3, 0, 4, 1, 2) for row in (5 + number, 10 + number, number)])


def test_memmap_holds_the_rows_in_order(store: RowStore, tmp_path: Path) -> None:
    order = stitched_order(store)
    summary = export_stream(store, order, tmp_path / "out", name="stitched", group_documents=True, formats=["memmap"])
    tokens = np.fromfile(tmp_path / "out/memmap/tokens.bin", summary["token_dtype"])
    offsets = np.load(tmp_path / "out/memmap/offsets.npy")
    rows = [decode(tokens[begin:end]) for begin, end in itertools.pairwise(offsets)]
    assert rows[:3] == ["[rephrase 0 of d3]", "[rephrase 1 of d3]", "[text of document 3]"]
    assert (len(rows), offsets[-1]) == (15, store.table.total_tokens)


@pytest.mark.parametrize("group_documents, num_sequences", [(True, 5), (False, 15)])
def test_megatron_files_follow_the_format(
    store: RowStore, tmp_path: Path, group_documents: bool, num_sequences: int
) -> None:
    order = stitched_order(store)
    export_stream(
        store, order, tmp_path / "out", name="stitched", group_documents=group_documents, formats=["megatron"]
    )
    index = (tmp_path / "out/megatron/stitched.idx").read_bytes()
    assert index[:9] == b"MMIDIDX\x00\x00"
    version, code, sequences, bounds = struct.unpack("<QBQQ", index[9:34])
    assert (version, code, sequences, bounds) == (
        1,
        8 if store.vocab_size == 300 else 4,
        num_sequences,
        num_sequences + 1,
    )
    lengths = np.frombuffer(index, "<i4", num_sequences, 34)
    pointers = np.frombuffer(index, "<i8", num_sequences, 34 + 4 * num_sequences)
    assert np.frombuffer(index, "<i8", bounds, 34 + 12 * num_sequences).tolist() == list(range(bounds))
    assert len(index) == 34 + 12 * num_sequences + 8 * bounds
    dtype = np.dtype("<u2" if code == 8 else "<i4")
    tokens = np.fromfile(tmp_path / "out/megatron/stitched.bin", dtype)
    second = tokens[pointers[1] // dtype.itemsize :][: lengths[1]]
    whole = "[rephrase 0 of d0][rephrase 1 of d0][text of document 0]"
    assert decode(second) == (whole if group_documents else "[rephrase 1 of d3]")
    assert lengths.sum() == len(tokens) == store.table.total_tokens


@pytest.mark.parametrize("shard_tokens", [40, 10_000])
def test_parquet_holds_text_and_provenance_in_order(store: RowStore, tmp_path: Path, shard_tokens: int) -> None:
    order = stitched_order(store)
    export_stream(
        store, order, tmp_path / "out", name="s", group_documents=True, formats=["parquet"], shard_tokens=shard_tokens
    )
    files = sorted((tmp_path / "out/data").glob("*.parquet"))
    assert (len(files) > 1) == (shard_tokens == 40)
    records = [record for file in files for record in pq.read_table(file).to_pylist()]
    assert [record["position"] for record in records] == list(range(15))
    assert [record["text"] for record in records] == [store.row_text(row) for row in order]
    assert records[5] == {
        "position": 5, "document_id": "d0", "kind": "real", "generation": 0, "num_tokens": 20,
        "text": "text of document 0",
    }  # fmt: skip


def test_the_card_says_how_to_train_and_the_record_covers_every_file(store: RowStore, tmp_path: Path) -> None:
    facts = {"recipe": "quickstart", "context_length": 256}
    summary = export_stream(
        store, stitched_order(store), tmp_path / "out", name="stitched", group_documents=True, facts=facts
    )
    card = (tmp_path / "out/README.md").read_text()
    assert "Concatenate, then split; plain causal." in card
    assert "15 rows (5 real, 10 rephrase) of 5 source documents" in card
    assert "- recipe: quickstart" in card
    head = yaml.safe_load(card.split("---")[1])
    assert head["configs"][0]["data_files"][0]["path"] == "data/*.parquet"
    assert json.loads((tmp_path / "out/export.json").read_text()) == summary
    files = {path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*") if path.is_file()}
    assert files - set(summary["files"]) == {"README.md", "export.json"}


def test_bad_requests_are_refused(store: RowStore, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="unknown export formats: tfrecord"):
        export_stream(
            store, stitched_order(store), tmp_path / "o", name="s", group_documents=True, formats=["tfrecord"]
        )
    with pytest.raises(InputError, match="not empty"):
        export_stream(store, stitched_order(store), tmp_path, name="s", group_documents=True)
    with pytest.raises(InputError, match="not a finished export"):
        push_export(tmp_path, "a/b")


def test_push_is_private_unless_told_otherwise(
    store: RowStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []

    class Api:
        def create_repo(self, repo_id: str, **options: object) -> None:
            calls.append((repo_id, options["private"], options["repo_type"]))

        def upload_folder(self, **options: object) -> None:
            calls.append(options["folder_path"])

    monkeypatch.setattr("huggingface_hub.HfApi", Api)
    export_stream(store, stitched_order(store), tmp_path / "out", name="s", group_documents=True, formats=["memmap"])
    address = push_export(tmp_path / "out", "me/stream")
    assert calls == [("me/stream", True, "dataset"), tmp_path / "out"]
    assert address.endswith("datasets/me/stream")
