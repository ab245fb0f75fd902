"""Reading published datasets, on local files of the same shape."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from megadocs.errors import InputError
from megadocs.recipe import PublishedConfig
from megadocs.rows import SourceRow, build_published_rows, open_rows
from megadocs.rows.published import iter_published
from megadocs.seeding import text_digest
from rows.helpers import CharacterTokenizer

BOS, EOS = "<|begin_of_text|>", "<|end_of_text|>"


def write(path: Path, texts: list[str], **columns: list[Any]) -> str:
    pq.write_table(pa.table({"text": texts, **columns}), path)
    return str(path)


def read(*datasets: dict[str, Any], **options: Any) -> tuple[list[SourceRow], Counter[str]]:
    account: Counter[str] = Counter()
    return list(iter_published(PublishedConfig(datasets=list(datasets), **options), account)), account


def names(rows: list[SourceRow]) -> list[tuple[str, str, int]]:
    return [(row.text, row.kind, row.generation) for row in rows]


def test_a_record_is_a_megadoc_with_separators(tmp_path: Path) -> None:
    texts = [f"{BOS}{n} first{EOS}{BOS}{n} second{EOS}{BOS}{n} real{EOS}" for n in "ab"]
    rows, account = read({"source": write(tmp_path / "s.parquet", texts), "form": "stitched"})
    assert names(rows) == [
        (f"{n} {text}", kind, generation)
        for n in "ab"
        for text, kind, generation in (("first", "rephrase", 0), ("second", "rephrase", 1), ("real", "real", 0))
    ]
    assert {row.document_id for row in rows} == {text_digest("a real"), text_digest("b real")}
    assert account == {"records_read": 2, "rows_kept": 6, "rows_repeated": 0}


def test_consecutive_records_are_a_megadoc(tmp_path: Path) -> None:
    source = write(tmp_path / "s.parquet", ["a real", "a first", "b real", "b first"], doc=[1, 1, 2, 2])
    dataset = {"source": source, "form": "stitched", "rows_per_document": 2, "real_document": "first"}
    rows, _ = read(dataset)
    assert names(rows) == [
        ("a first", "rephrase", 0),
        ("a real", "real", 0),
        ("b first", "rephrase", 0),
        ("b real", "real", 0),
    ]
    named, _ = read({**dataset, "id_field": "doc"})
    assert [row.document_id for row in named] == ["1", "1", "2", "2"]
    with pytest.raises(InputError, match="the last megadoc has 1 rows instead of 3"):
        read({**dataset, "rows_per_document": 3})
    with pytest.raises(InputError, match="rows of 2 documents"):
        read({**dataset, "rows_per_document": 4, "id_field": "doc"})


def test_one_document_is_one_in_every_dataset(tmp_path: Path) -> None:
    """The real document, its megadoc and its stretched form meet by the hash of the real text."""
    rows, account = read(
        {"source": write(tmp_path / "r.parquet", [f"{BOS}the real text{EOS}"]), "form": "real"},
        {"source": write(tmp_path / "s.parquet", [f"a rephrase{EOS}the real text"]), "form": "stitched"},
        {
            "source": write(tmp_path / "l.parquet", ["the <think>why\nnot</think>real <think>x</think>text"]),
            "form": "latent_thoughts",
            "num_generations": 2,
        },
    )
    assert [row.kind for row in rows] == ["real", "rephrase", "latent_thoughts"]
    assert len({row.document_id for row in rows}) == 1
    assert account["rows_repeated"] == 1


def test_sub_sampling_keeps_the_same_documents_everywhere(tmp_path: Path) -> None:
    texts = [f"text {n}" for n in range(400)]
    real = {"source": write(tmp_path / "r.parquet", texts), "form": "real"}
    stitched = {"source": write(tmp_path / "s.parquet", [f"x{EOS}{text}" for text in texts]), "form": "stitched"}
    first, account = read(real, document_fraction=0.25, seed=1)
    second, _ = read(stitched, document_fraction=0.25, seed=1)
    assert {row.document_id for row in first} == {row.document_id for row in second}
    assert 60 < len(first) < 140
    assert account["rows_sampled_out"] == 400 - len(first)
    larger, _ = read(real, document_fraction=0.5, seed=1)
    assert {row.document_id for row in first} < {row.document_id for row in larger}


def test_rows_are_built_and_opened(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    write(folder / "b.parquet", ["c one<|end_of_text|>c"])
    write(folder / "a.parquet", ["a one<|end_of_text|>a", "b one<|end_of_text|>b", " "])
    config = PublishedConfig(datasets=[{"source": str(folder), "form": "stitched"}])
    manifest, account = build_published_rows(config, CharacterTokenizer(), tmp_path / "segments")
    store = open_rows([manifest], tmp_path / "segments")
    assert [store.row_text(row) for row in range(6)] == ["a", "b", "c", "a one", "b one", "c one"]
    assert account == {"records_empty": 1, "records_read": 4, "rows_kept": 6, "rows_repeated": 0}


@pytest.mark.parametrize(
    "dataset, message",
    [
        ({"source": "none.parquet", "form": "real"}, "no Parquet files"),
        ({"source": "r.parquet", "form": "real", "text_field": "body"}, "no column 'body'"),
        ({"source": "two.parquet", "form": "real"}, "holds 2 rows"),
        ({"source": "r.parquet", "form": "latent_thoughts"}, "G of its thoughts"),
        ({"source": "torn.parquet", "form": "real"}, "cannot read the dataset"),
    ],
)
def test_bad_datasets_are_refused(tmp_path: Path, dataset: dict[str, Any], message: str) -> None:
    write(tmp_path / "r.parquet", ["text"])
    write(tmp_path / "two.parquet", [f"one{EOS}two"])
    (tmp_path / "torn.parquet").write_bytes(b"PAR1")
    with pytest.raises(InputError, match=message):
        read({**dataset, "source": str(tmp_path / dataset["source"])})
