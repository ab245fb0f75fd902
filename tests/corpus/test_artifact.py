"""A corpus written and read back is the same corpus; damage is found."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from megadocs.corpus import read_corpus, split_documents, write_corpus
from megadocs.documents import Document
from megadocs.errors import DamagedError, StoreError
from megadocs.recipe.data import CorpusConfig

DOCUMENTS = [Document(f"d{index}", f"text {index} \x00\u2028é😀", {"z": 1, "a": "ü"}) for index in range(40)]
CORPUS = split_documents(DOCUMENTS, CorpusConfig(source="unused"))


def test_round_trip(tmp_path: Path) -> None:
    summary = write_corpus(CORPUS, tmp_path)
    assert read_corpus(tmp_path) == CORPUS
    assert summary == json.loads((tmp_path / "corpus.json").read_text(encoding="utf-8"))
    assert summary["num_documents"] == {"train": 24, "validation": 8, "test": 8}
    assert summary["num_groups"] == {"train": 24, "validation": 8, "test": 8}


def test_bytes_do_not_depend_on_when_or_where(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        write_corpus(CORPUS, tmp_path / folder)
    for name in ("documents.parquet", "corpus.json"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_table_has_the_documented_columns(tmp_path: Path) -> None:
    from pyarrow import parquet

    write_corpus(CORPUS, tmp_path)
    table = parquet.read_table(tmp_path / "documents.parquet")
    assert table.column_names == ["split", "rank", "id", "text", "group", "meta"]
    assert table["rank"].to_pylist() == [*range(24), *range(8), *range(8)]


def test_damage_is_found(tmp_path: Path) -> None:
    write_corpus(CORPUS, tmp_path)
    content = (tmp_path / "documents.parquet").read_bytes()
    (tmp_path / "documents.parquet").write_bytes(content[:-20])
    with pytest.raises(DamagedError, match="cannot be read"):
        read_corpus(tmp_path)
    (tmp_path / "documents.parquet").unlink()
    with pytest.raises(StoreError):
        read_corpus(tmp_path)


def test_a_table_of_other_documents_is_found(tmp_path: Path) -> None:
    write_corpus(CORPUS, tmp_path)
    summary = json.loads((tmp_path / "corpus.json").read_text())
    summary["num_documents"]["test"] = 9
    (tmp_path / "corpus.json").write_text(json.dumps(summary))
    with pytest.raises(DamagedError, match="were written"):
        read_corpus(tmp_path)


def test_a_folder_that_cannot_be_written_is_a_store_error(tmp_path: Path) -> None:
    with pytest.raises(StoreError):
        write_corpus(CORPUS, tmp_path / "missing")
