"""From files to documents: every kind of file, every kind of bad record, and what is said about it."""

from __future__ import annotations

import contextlib
import gzip
import json
from pathlib import Path
from typing import Any

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from megadocs.corpus import iter_documents, source_digest, split_documents
from megadocs.documents import Document
from megadocs.errors import InputError
from megadocs.recipe.data import CorpusConfig, PiecesConfig
from megadocs.seeding import text_digest

RECORDS: list[dict[str, Any]] = [{"id": index, "body": f"text {index}\u2028é\x00"} for index in range(5)]


def json_lines(records: list[dict[str, Any]]) -> bytes:
    return "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records).encode()


def write_parquet(path: Path, columns: dict[str, Any]) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    parquet.write_table(pa.table(columns), path, row_group_size=2)


def write_records(path: Path) -> None:
    content = json_lines(RECORDS)
    if path.suffix == ".parquet":
        write_parquet(path, {"body": [record["body"] for record in RECORDS], "id": list(range(5)), "other": [[1]] * 5})
    elif path.suffix == ".gz":
        path.write_bytes(gzip.compress(content))
    else:
        path.write_bytes(zstandard.compress(content) if path.suffix == ".zst" else content)


def read(source: Path | str, **options: Any) -> tuple[list[Document], dict[str, Any]]:
    stream = iter_documents(CorpusConfig(source=str(source), **options))
    documents = list(stream)
    return documents, stream.intake.to_json()


@pytest.mark.parametrize("name", ["r.jsonl", "r.jsonl.gz", "r.jsonl.zst", "r.parquet", "R.JSONL"])
def test_every_kind_of_file_gives_the_same_documents(tmp_path: Path, name: str) -> None:
    write_records(tmp_path / name)
    documents, counts = read(tmp_path / name, text_field="body", id_field="id")
    assert [(document.id, document.text) for document in documents] == [
        (str(record["id"]), record["body"]) for record in RECORDS
    ]
    assert documents[0].meta == {"group": "0", "source": name}
    assert (counts["num_records"], counts["rejected"]) == (5, {})


def test_without_an_id_field_the_id_is_the_hash_of_the_text(tmp_path: Path) -> None:
    write_records(tmp_path / "r.jsonl")
    documents, _ = read(tmp_path / "r.jsonl", text_field="body")
    assert [document.id for document in documents] == [text_digest(record["body"]) for record in RECORDS]


def test_folders_and_globs_are_read_in_the_order_of_names(tmp_path: Path) -> None:
    (tmp_path / "b" / "c").mkdir(parents=True)
    for name, text in [("z.txt", "z"), ("b/c/a.txt", "a"), ("b/x.txt", "x"), (".hidden.txt", "h"), ("notes.md", "m")]:
        (tmp_path / name).write_text(text)
    documents, counts = read(tmp_path)
    assert [(document.text, document.meta["source"]) for document in documents] == [
        ("a", "b/c/a.txt"),
        ("x", "b/x.txt"),
        ("z", "z.txt"),
    ]
    assert (counts["num_files"], counts["num_skipped_files"]) == (3, 1)
    assert [document.text for document in read(tmp_path / "*.txt")[0]] == ["z"]
    assert [document.text for document in read(tmp_path / "**" / "*.txt")[0]] == ["a", "x", "z"]


def test_pieces_have_a_group_and_stable_ids(tmp_path: Path) -> None:
    text = "\n\n".join(f"Paragraph {index}. " + "word " * 10 for index in range(10))
    (tmp_path / "r.jsonl").write_text(json.dumps({"text": text, "key": "k"}) + "\n")
    pieces = PiecesConfig(min_characters=100, max_characters=200)
    documents, _ = read(tmp_path / "r.jsonl", pieces=pieces, id_field="key")
    assert [document.id for document in documents] == [f"k#{index}" for index in range(len(documents))]
    assert {document.meta["group"] for document in documents} == {"k"}
    unnamed, _ = read(tmp_path / "r.jsonl", pieces=pieces)
    assert [document.id for document in unnamed] == [text_digest(document.text) for document in unnamed]
    assert {document.meta["group"] for document in unnamed} == {text_digest(text)}


def test_limit_stops_reading(tmp_path: Path) -> None:
    write_records(tmp_path / "r.jsonl")
    documents, counts = read(tmp_path / "r.jsonl", text_field="body", limit=2)
    assert (len(documents), counts["num_records"]) == (2, 2)


def test_bad_json_lines_are_counted_with_their_place(tmp_path: Path) -> None:
    good = b'{"text": "good", "id": 1}'
    lines = [b"\xef\xbb\xbf" + good, b"{", b"[1]", b'{"text": 5, "id": 2}', b'{"id": 3}', b'{"text": " ", "id": 4}']
    lines += [
        b'{"text": "caf\xe9", "id": 5}',
        b'{"text": "\\ud800", "id": 6}',
        b'{"text": "no id"}',
        b"[" * 100_000,
        b"",
    ]
    (tmp_path / "r.jsonl").write_bytes(b"\n".join(lines))
    documents, counts = read(tmp_path / "r.jsonl", id_field="id")
    assert [document.text for document in documents] == ["good"]
    assert counts["rejected"] == {
        "empty": 1,
        "invalid_json": 2,
        "invalid_utf8": 1,
        "lone_surrogate": 1,
        "missing_id": 1,
        "missing_text": 1,
        "not_a_json_object": 1,
        "text_not_a_string": 1,
    }
    assert counts["num_records"] == 10
    assert counts["rejected_examples"]["invalid_utf8"] == ["r.jsonl:7"]


def test_bad_parquet_values_are_counted(tmp_path: Path) -> None:
    import pyarrow as pa

    text = pa.array([b"good", b"\xff", None, b""], pa.binary()).view(pa.string())
    ids = pa.array([b"a", b"b", b"c", b"\xfe"], pa.binary()).view(pa.string())
    write_parquet(tmp_path / "r.parquet", {"text": text, "id": ids})
    documents, counts = read(tmp_path / "r.parquet", id_field="id")
    assert [document.text for document in documents] == ["good"]
    assert counts["rejected"] == {"empty": 1, "invalid_utf8": 1, "missing_text": 1}


@pytest.mark.parametrize("kind", ["string", "large_string", "binary", "string_view", "dictionary"])
def test_parquet_text_of_every_type(tmp_path: Path, kind: str) -> None:
    import pyarrow as pa

    types = {"dictionary": pa.dictionary(pa.int32(), pa.string()), "string_view": pa.string_view()}
    value_type = types.get(kind) or getattr(pa, kind)()
    values = [b"a", b"b", b"a"] if kind == "binary" else ["a", "b", "a"]
    write_parquet(tmp_path / "r.parquet", {"text": pa.array(values).cast(value_type)})
    assert [document.text for document in read(tmp_path / "r.parquet")[0]] == ["a", "b", "a"]


@pytest.mark.parametrize("name", ["r.jsonl", "r.jsonl.gz", "r.parquet"])
@pytest.mark.parametrize(
    "options, key, nearest", [({"text_field": "boddy"}, "text", "body"), ({"id_field": "idd"}, "id", "id")]
)
def test_a_wrong_field_name_is_named_with_the_nearest(
    tmp_path: Path, name: str, options: dict[str, str], key: str, nearest: str
) -> None:
    write_records(tmp_path / name)
    with pytest.raises(InputError) as caught:
        read(tmp_path / name, **{"text_field": "body", **options})
    assert f"corpus.{key}_field" in str(caught.value.where)
    assert caught.value.remedy == f"set corpus.{key}_field={nearest}"


def test_a_field_missing_in_some_records_only_is_a_reject(tmp_path: Path) -> None:
    (tmp_path / "r.jsonl").write_bytes(json_lines([{"other": 1}] * 900 + [{"text": "found"}]))
    documents, counts = read(tmp_path / "r.jsonl")
    assert (len(documents), counts["rejected"]) == (1, {"missing_text": 900})


def test_a_number_column_is_not_text(tmp_path: Path) -> None:
    write_parquet(tmp_path / "r.parquet", {"text": [1, 2]})
    with pytest.raises(InputError, match="not text"):
        read(tmp_path / "r.parquet")


@pytest.mark.parametrize("name", ["r.jsonl.gz", "r.jsonl.zst", "r.parquet"])
def test_a_truncated_file_is_an_error_naming_it(tmp_path: Path, name: str) -> None:
    write_records(tmp_path / name)
    content = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(content[: len(content) // 2])
    with pytest.raises(InputError) as caught:
        read(tmp_path / name, text_field="body")
    assert caught.value.where == str(tmp_path / name)
    assert caught.value.remedy


@settings(max_examples=150)
@given(data=st.data())
def test_damaged_parquet_gives_documents_or_an_input_error(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.getbasetemp() / "fuzzed.parquet"
    write_records(path)
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(bytes(content))
    with contextlib.suppress(InputError):
        read(path, text_field="body", id_field="id")


@settings(max_examples=300)
@given(
    content=st.lists(st.sampled_from([b'{"text": "', b'"}', b"\n", b"\xff", b"a", b"[", b"{}", b"\\ud800"])).map(
        b"".join
    )
)
def test_any_bytes_as_json_lines_are_accounted_for(content: bytes, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.getbasetemp() / "fuzzed.jsonl"
    path.write_bytes(content)
    with contextlib.suppress(InputError):
        documents, counts = read(path)
        assert len(documents) + sum(counts["rejected"].values()) == counts["num_records"]


def test_text_that_is_not_utf8_says_how_to_convert(tmp_path: Path) -> None:
    (tmp_path / "latin.txt").write_bytes("café".encode("latin1"))
    config = CorpusConfig(source=str(tmp_path))
    with pytest.raises(InputError, match="1 invalid_utf8") as caught:
        split_documents(iter_documents(config), config)
    assert "latin.txt" in str(caught.value.where)
    assert "iconv" in str(caught.value.remedy)


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("name", ["a.txt", "a.jsonl"])
def test_utf16_is_not_taken_for_latin1(tmp_path: Path, encoding: str, name: str) -> None:
    """Converted from latin1 it would become two characters for each, and nobody would notice."""
    text = "The harbour froze early." if name == "a.txt" else '{"text": "The harbour froze early."}\n'
    (tmp_path / name).write_bytes(text.encode(encoding))
    config = CorpusConfig(source=str(tmp_path))
    with pytest.raises(InputError, match="looks_like_utf16") as caught:
        split_documents(iter_documents(config), config)
    assert "iconv -f utf-16 " in str(caught.value.remedy)


@pytest.mark.parametrize("source", ["none.txt", "*.jsonl", "empty", "notes.md", "hf://no/such/name:x:y", "sotu://x"])
def test_a_source_that_is_not_there(tmp_path: Path, source: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "notes.md").write_text("x")
    for attempt in (read, lambda name: source_digest(CorpusConfig(source=name))):
        with pytest.raises(InputError) as caught:
            attempt(source)
        assert caught.value.remedy


def test_order_and_names_of_files_do_not_change_the_split(tmp_path: Path) -> None:
    records = [{"id": f"r{index}", "text": f"text number {index}"} for index in range(60)]
    for folder, parts in (("one", [records]), ("other", [records[40:], records[:40]])):
        (tmp_path / folder).mkdir()
        for number, part in enumerate(parts):
            (tmp_path / folder / f"{number}.jsonl").write_bytes(json_lines(part))
    splits = []
    for folder in ("one", "other"):
        config = CorpusConfig(source=str(tmp_path / folder), id_field="id")
        corpus = split_documents(iter_documents(config), config)
        splits.append([[document.id for document in side] for side in (corpus.train, corpus.validation, corpus.test)])
    assert splits[0] == splits[1]


def test_a_source_that_changes_between_the_two_passes_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    path.write_bytes(json_lines([{"text": f"t {index}"} for index in range(40)]))
    config = CorpusConfig(source=str(path))
    stream = iter_documents(config)

    class Changing:
        passes = 0

        def __iter__(self) -> Any:
            self.passes += 1
            if self.passes == 2:
                path.write_bytes(b'{"text": "only one left"}\n')
            return iter(stream)

    with pytest.raises(InputError, match="changed"):
        split_documents(Changing(), config)


def test_digest_follows_names_and_contents(tmp_path: Path) -> None:
    def digest(folder: Path) -> str:
        return source_digest(CorpusConfig(source=str(folder)))

    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "x.txt").write_text("one")
    same = digest(tmp_path / "a")
    assert digest(tmp_path / "b") == same  # a moved folder keeps its digest
    (tmp_path / "b" / "x.txt").write_text("two")
    assert digest(tmp_path / "b") != same
    (tmp_path / "a" / "y.txt").write_text("")
    assert digest(tmp_path / "a") != same
