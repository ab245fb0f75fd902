"""Reading published datasets, on local files of the same shape."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError

from megadocs.documents import Document
from megadocs.errors import InputError
from megadocs.recipe import PublishedConfig
from megadocs.rows import SourceRow, build_published_rows, open_rows, read_real_documents
from megadocs.rows.published import PublishedReader
from megadocs.seeding import text_digest
from rows.helpers import CharacterTokenizer

BOS, EOS = "<|begin_of_text|>", "<|end_of_text|>"


def write(path: Path, texts: list[str | None], **columns: list[Any]) -> str:
    pq.write_table(pa.table({"text": texts, **columns}), path)
    return str(path)


def config_of(**datasets: dict[str, Any]) -> PublishedConfig:
    return PublishedConfig(datasets=datasets, real_documents="corpus")


def read(**dataset: Any) -> tuple[list[SourceRow], Counter[str]]:
    """All rows of one dataset, as the reader gives them."""
    account: Counter[str] = Counter()
    config = config_of(one=dataset)
    reader = PublishedReader(config.datasets["one"], config, [Path(dataset["source"])], account)
    return [row for rows in reader.documents() for row in rows], account


def names(rows: list[SourceRow]) -> list[tuple[str, str, int]]:
    return [(row.text, row.kind, row.generation) for row in rows]


def build(tmp_path: Path, kind: str, documents: Sequence[Document], **dataset: Any) -> Any:
    """Manifest, counts and the (document, text, missing thoughts) of every row of one kind."""
    config = config_of(one=dataset)
    manifest, counts = build_published_rows(
        config.datasets["one"],
        config,
        [Path(dataset["source"])],
        kind,
        documents,
        CharacterTokenizer(),
        tmp_path / "segments",
    )
    store = open_rows([manifest], tmp_path / "segments")
    table = store.table
    rows = [
        (table.document_ids[table.document_index[row]], store.row_text(row), int(missing))
        for row, missing in enumerate(table.extra["num_missing_thoughts"])
    ]
    return manifest, counts, rows


def test_a_record_is_a_megadoc_with_separators(tmp_path: Path) -> None:
    texts = [f"{BOS}{n} first{EOS}{BOS}{n} second{EOS}{BOS}{n} real{EOS}" for n in "ab"]
    rows, account = read(source=write(tmp_path / "s.parquet", texts), form="stitched", num_generations=2)
    assert names(rows) == [
        (f"{n} {text}", kind, generation)
        for n in "ab"
        for text, kind, generation in (("first", "rephrase", 0), ("second", "rephrase", 1), ("real", "real", 0))
    ]
    assert {row.document_id for row in rows} == {text_digest("a real"), text_digest("b real")}
    assert account == {"records_read": 2}


def test_consecutive_records_are_a_megadoc(tmp_path: Path) -> None:
    source = write(tmp_path / "s.parquet", ["a real", "a first", "b real", "b first"], doc=[1, 1, 2, 2])
    dataset = {"source": source, "form": "stitched", "real_document": "first", "num_generations": 3}
    rows, _ = read(**dataset, rows_per_document=2)
    assert names(rows) == [
        ("a first", "rephrase", 0),
        ("a real", "real", 0),
        ("b first", "rephrase", 0),
        ("b real", "real", 0),
    ]
    named, _ = read(**dataset, rows_per_document=2, id_field="doc")
    assert [row.document_id for row in named] == ["1", "1", "2", "2"]
    with pytest.raises(InputError, match="the last megadoc has 1 rows instead of 3"):
        read(**dataset, rows_per_document=3)
    with pytest.raises(InputError, match="rows of 2 documents"):
        read(**dataset, rows_per_document=4, id_field="doc")


def test_rephrases_come_one_a_record_in_any_order(tmp_path: Path) -> None:
    source = write(tmp_path / "r.parquet", ["b1", "a0", "b0", "a1", "b1 again"], doc=list("babab"), g=[1, 0, 0, 1, 1])
    dataset = {"source": source, "form": "rephrase", "id_field": "doc", "num_generations": 2}
    rows, account = read(**dataset, generation_field="g")
    assert [(row.document_id, row.generation, row.text) for row in rows] == [
        ("b", 1, "b1"),
        ("a", 0, "a0"),
        ("b", 0, "b0"),
        ("a", 1, "a1"),
    ]
    assert account["documents_repeated"] == 1
    counted, _ = read(**dataset)
    assert [(row.document_id, row.generation) for row in counted] == [("b", 0), ("a", 0), ("b", 1), ("a", 1), ("b", 2)]


def test_one_document_is_one_in_every_dataset(tmp_path: Path) -> None:
    """The real document, its megadoc and its stretched form meet by the hash of the real text, line ends cleaned."""
    files = {
        "real": {"source": write(tmp_path / "r.parquet", [f"{BOS}the\r\nreal text{EOS}"]), "form": "real"},
        "g1": {
            "source": write(tmp_path / "s.parquet", [f"a rephrase{EOS}the\nreal text"]),
            "form": "stitched",
            "num_generations": 1,
        },
        "thoughts": {
            "source": write(tmp_path / "l.parquet", ["the\n<think>why\nnot</think>real <think>x</think>text"]),
            "form": "latent_thoughts",
            "num_generations": 2,
        },
    }
    rows = [row for dataset in files.values() for row in read(**dataset)[0]]
    assert [row.kind for row in rows] == ["real", "rephrase", "real", "latent_thoughts"]
    assert {row.document_id for row in rows} == {text_digest("the\nreal text")}


def test_real_documents_come_from_the_real_dataset_or_the_first_stitched_one(tmp_path: Path) -> None:
    real = {"source": write(tmp_path / "r.parquet", ["one", "two", "one"]), "form": "real"}
    stitched = {
        "source": write(tmp_path / "s.parquet", [f"x{EOS}three", f"y{EOS}four"]),
        "form": "stitched",
        "num_generations": 1,
    }
    files = {"real": [tmp_path / "r.parquet"], "g1": [tmp_path / "s.parquet"]}
    account: Counter[str] = Counter()
    both = PublishedConfig(datasets={"g1": stitched, "real": real})
    assert [document.text for document in read_real_documents(both, files, account)] == ["one", "two"]
    assert account["documents_repeated"] == 1
    alone = PublishedConfig(datasets={"g1": stitched})
    assert [document.text for document in read_real_documents(alone, files, Counter())] == ["three", "four"]
    with pytest.raises(ValidationError, match="no dataset holds real documents"):
        PublishedConfig(datasets={"l": {"source": "l", "form": "latent_thoughts", "num_generations": 1}})


def test_rows_of_the_wanted_documents_are_built_and_the_lacking_counted(tmp_path: Path) -> None:
    texts = ["a one<|end_of_text|>a two<|end_of_text|>a", "b one<|end_of_text|>b", "z one<|end_of_text|>z", " ", None]
    documents = [Document(text_digest(text), text) for text in "abc"]
    source = write(tmp_path / "s.parquet", texts)
    manifest, counts, rows = build(tmp_path, "rephrase", documents, source=source, form="stitched", num_generations=2)
    assert [text for _, text, _ in rows] == ["a one", "b one", "a two"]
    assert counts == {"records_read": 5, "records_empty": 2, "rows_kept": 3, "rows_of_other_documents": 1}
    missing = manifest.missing[0]
    assert (missing.wanted, missing.missing, missing.num_documents) == (6, 3, 2)


@pytest.mark.parametrize("kind", ["latent_thoughts", "thoughts_appended"])
def test_stretched_rows_count_their_thoughts(tmp_path: Path, kind: str) -> None:
    long = "a text that is long enough for two thoughts"
    documents = [Document(text_digest(text), text) for text in (long, long + "!", long + "?")]
    source = write(
        tmp_path / "l.parquet",
        [f"{long[:6]}<think>p</think>{long[6:20]}<think>q</think>{long[20:]}", f"{long}<think>r</think>!"],
    )
    manifest, counts, rows = build(tmp_path, kind, documents, source=source, form="latent_thoughts", num_generations=2)
    stretched = [f"{long[:6]}<think>p</think>{long[6:20]}<think>q</think>{long[20:]}", f"{long}<think>r</think>!"]
    appended = [f"{long}<think>p</think><think>q</think>", f"{long}!<think>r</think>"]
    assert [(text, missing) for _, text, missing in rows] == [
        *zip(stretched if kind == "latent_thoughts" else appended, (0, 1), strict=True),
        (long + "?", 2),  # no row for it: its text stands unbroken
    ]
    assert counts["documents_without_a_row"] == 1
    assert (manifest.missing[0].wanted, manifest.missing[0].missing) == (6, 3)


def test_a_dataset_of_other_documents_is_refused(tmp_path: Path) -> None:
    source = write(tmp_path / "s.parquet", [f"x{EOS}elsewhere"])
    with pytest.raises(InputError, match="none of its documents is among the 1 real ones"):
        build(tmp_path, "rephrase", [Document("a", "a")], source=source, form="stitched", num_generations=1)


@pytest.mark.parametrize(
    "dataset, message",
    [
        ({"source": "r.parquet", "form": "real", "text_field": "body"}, "no column 'body'"),
        ({"source": "two.parquet", "form": "real"}, "holds 2 rows"),
        ({"source": "two.parquet", "form": "stitched", "num_generations": 1, "real_document": "last"}, None),
        ({"source": "many.parquet", "form": "stitched", "num_generations": 1}, "has 2 rephrases, more than"),
        ({"source": "torn.parquet", "form": "real"}, "cannot read the dataset"),
        ({"source": "numbers.parquet", "form": "real"}, "does not hold strings"),
        ({"source": "nameless.parquet", "form": "real", "id_field": "doc"}, "a record has no id"),
    ],
)
def test_bad_datasets_are_refused(tmp_path: Path, dataset: dict[str, Any], message: str | None) -> None:
    write(tmp_path / "r.parquet", ["text"])
    write(tmp_path / "two.parquet", [f"one{EOS}two"])
    write(tmp_path / "many.parquet", [f"one{EOS}two{EOS}three"])
    write(tmp_path / "numbers.parquet", [1])  # type: ignore[list-item]
    write(tmp_path / "nameless.parquet", ["text", "more"], doc=["a", None])
    (tmp_path / "torn.parquet").write_bytes(b"PAR1")
    dataset = {**dataset, "source": str(tmp_path / dataset["source"])}
    if message is None:
        assert len(read(**dataset)[0]) == 2
        return
    with pytest.raises(InputError, match=message):
        read(**dataset)


@pytest.mark.parametrize(
    "dataset, message",
    [
        ({"form": "stitched"}, "needs num_generations"),
        ({"form": "latent_thoughts"}, "needs num_generations"),
        ({"form": "rephrase", "num_generations": 2}, "needs id_field"),
        ({"form": "stitched", "num_generations": 2, "real_document": "none"}, "need id_field"),
    ],
)
def test_incomplete_descriptions_are_refused(dataset: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        config_of(one={"source": "x", **dataset})


@pytest.mark.parametrize("empty", ["", None, "  \n"])
def test_an_empty_row_keeps_its_place(tmp_path: Path, empty: str | None) -> None:
    """No rephrase becomes a real document, none takes another's number."""
    texts = ["a0", "a1", "A", "b0", "b1", empty, empty, "c1", "C", "d0", empty, "D"]
    dataset = {"source": write(tmp_path / "d.parquet", texts), "form": "stitched", "num_generations": 2}
    rows, account = read(**dataset, rows_per_document=3)
    assert names(rows) == [
        ("a0", "rephrase", 0), ("a1", "rephrase", 1), ("A", "real", 0),
        ("c1", "rephrase", 1), ("C", "real", 0), ("d0", "rephrase", 0), ("D", "real", 0),
    ]  # fmt: skip
    assert (account["documents_without_real_text"], account["records_empty"]) == (1, 3)


@pytest.mark.parametrize("empty", ["", "  \n"])
def test_an_empty_row_within_a_record_keeps_its_place(tmp_path: Path, empty: str) -> None:
    records = [["a0", "a1", "A"], ["b0", "b1", empty], [empty, "c1", "C"], ["d0", empty, "D"]]
    texts: list[str | None] = ["".join(f"{BOS}{row}{EOS}" for row in rows) for rows in records]
    dataset = {"source": write(tmp_path / "d.parquet", texts), "form": "stitched", "num_generations": 2}
    rows, account = read(**dataset)
    assert [(row.text, row.generation) for row in rows] == [
        ("a0", 0), ("a1", 1), ("A", 0), ("c1", 1), ("C", 0), ("d0", 0), ("D", 0)
    ]  # fmt: skip
    assert (account["documents_without_real_text"], account["rows_empty"]) == (1, 3)


def test_an_empty_generation_keeps_its_number(tmp_path: Path) -> None:
    source = write(tmp_path / "d.parquet", ["r0", None, "r2"], doc=["x"] * 3)
    rows, account = read(source=source, form="rephrase", id_field="doc", num_generations=3)
    assert [(row.text, row.generation) for row in rows] == [("r0", 0), ("r2", 2)]
    assert account["records_empty"] == 1


@pytest.mark.parametrize("value", [-1, 2, 2**40, "gen0", float("nan"), 0.5, None, True])
def test_a_generation_that_is_no_number_of_one_is_refused(tmp_path: Path, value: Any) -> None:
    numbers = ["0", value, "1"] if isinstance(value, str) else [value]
    source = write(tmp_path / "d.parquet", ["r"] * len(numbers), doc=["x"] * len(numbers), gen=numbers)
    with pytest.raises(InputError, match="no number from 0 to 1") as refused:
        read(source=source, form="rephrase", id_field="doc", generation_field="gen", num_generations=2)
    assert "d.parquet:1 (generation_field)" in str(refused.value)
    assert ("count from 0" in str(refused.value)) == (value == 2)


def test_whole_numbers_in_a_column_of_floats_are_numbers(tmp_path: Path) -> None:
    source = write(tmp_path / "d.parquet", ["a", "b"], doc=["x", "x"], gen=[0.0, 1.0])
    rows, _ = read(source=source, form="rephrase", id_field="doc", generation_field="gen", num_generations=2)
    assert [row.generation for row in rows] == [0, 1]
