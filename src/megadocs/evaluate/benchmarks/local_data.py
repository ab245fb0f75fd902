"""Records of a benchmark from local files, checked one by one, for lm-evaluation-harness.

    records = read_records(Path("piqa.jsonl"))                 # .jsonl[.gz], .parquet, .arrow, or a folder of them
    check_records(records, {"goal": "text", "label": "index"}, "piqa.jsonl")

A task file names `load_split` as its `custom_dataset`; nothing is downloaded, and nothing written into a cache. A
damaged record is named by its number, counted from 0: a template would render a null as the word "None" and score it.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from megadocs.errors import DamagedError, InputError
from megadocs.seeding import text_digest
from megadocs.store.files import file_sha256

Record = Mapping[str, Any]

SUFFIXES = (".jsonl", ".jsonl.gz", ".parquet", ".arrow")


def load_split(path: str, split: str, columns: Mapping[str, str], **_: Any) -> dict[str, Any]:
    """The dataset of a task file: one split, checked (called by lm-evaluation-harness with `dataset_kwargs`)."""
    import datasets

    records = read_records(Path(path))
    check_records(records, columns, path)
    return {split: datasets.Dataset.from_list(records)}


def read_records(path: Path) -> list[dict[str, Any]]:
    """Records of a file, or of the files of a folder in the order of their names; of prepared requests, the questions.

    Raises:
        InputError: no such file, or nothing in it.
        DamagedError: a file cannot be read; says at which line.
    """
    files = data_files(path)
    records = []
    for file in files:
        try:
            records += _read_table(file) if file.suffix in (".parquet", ".arrow") else _read_json_lines(file)
        except (OSError, ValueError, EOFError) as error:
            remedy = "get the file again"
            raise DamagedError(f"cannot read benchmark data: {error}", where=str(file), remedy=remedy) from error
    if not records:
        raise InputError("the benchmark has no records", where=str(path), remedy="give at least one")
    return _questions(records) if path.name.startswith("requests.jsonl") else records


def data_files(path: Path) -> list[Path]:
    """The file itself, or the data files of a folder in the order of their names."""
    files = sorted(file for file in path.iterdir() if file.name.endswith(SUFFIXES)) if path.is_dir() else [path]
    if not files or not all(file.is_file() and file.name.endswith(SUFFIXES) for file in files):
        remedy = f"give a {', '.join(SUFFIXES)} file or a folder of them in evaluate.benchmark_data"
        raise InputError("no benchmark data here", where=str(path), remedy=remedy)
    return files


def data_digest(path: Path) -> str:
    """SHA-256 over the names and contents of the data files."""
    return text_digest(json.dumps([(file.name, file_sha256(file)) for file in data_files(path)]))


def check_records(records: list[dict[str, Any]], columns: Mapping[str, str], where: str) -> None:
    """Refuse the first record that lacks a column, or holds something else than the column's kind (see `_KINDS`)."""
    for index, record in enumerate(records):
        if not isinstance(record, dict):
            raise _bad_record(index, "is not an object", where, columns)
        for name, kind in columns.items():
            if name not in record:
                raise _bad_record(index, f"has no {name!r}", where, columns)
            if not _KINDS[kind](record[name]):
                raise _bad_record(index, f"{name!r} is {str(record[name])[:60]!r}", where, columns)
        try:
            json.dumps(record, ensure_ascii=False, default=str).encode("utf-8")
        except UnicodeEncodeError as error:
            raise _bad_record(index, "holds half of a surrogate pair", where, columns) from error


def _bad_record(number: int, what: str, where: str, columns: Mapping[str, str]) -> InputError:
    remedy = (
        f"give every record {', '.join(columns)}, or leave it out" if columns else "correct the record or leave it out"
    )
    return InputError(f"record {number}: {what}", where=where, remedy=remedy)


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and bool(value)


def _is_texts(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(map(_is_text, value))


def _is_index(value: Any) -> bool:
    """A choice's number, which comes as 1 or "1"; not a boolean, not a fraction."""
    return (isinstance(value, int) and not isinstance(value, bool)) or (isinstance(value, str) and value.isdecimal())


def _is_labelled_texts(value: Any) -> bool:
    return isinstance(value, dict) and _is_texts(value.get("text")) and _is_texts(value.get("label"))


#: What a column may hold.
_KINDS: dict[str, Callable[[Any], bool]] = {
    "text": _is_text,
    "any_text": lambda value: isinstance(value, str),  # may be empty
    "texts": _is_texts,
    "labelled_texts": _is_labelled_texts,
    "index": _is_index,
}


def _read_json_lines(path: Path) -> list[dict[str, Any]]:
    raw = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    records = []
    # Not `splitlines`: a text may hold U+2028 and its like, which JSON does not escape.
    for number, line in enumerate(raw.decode("utf-8").split("\n"), start=1):
        try:
            if line.strip():
                records.append(json.loads(line))
        except ValueError as error:
            raise ValueError(f"line {number}: {error}") from error
    return records


def _read_table(path: Path) -> list[dict[str, Any]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    if path.suffix == ".parquet":
        return list(pq.read_table(path).to_pylist())
    with pa.memory_map(str(path)) as source:
        return list(pa.ipc.open_stream(source).read_all().to_pylist())


def _questions(requests: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The questions of prepared requests (one request a choice, each question several times), in their order."""
    questions: dict[str, dict[str, Any]] = {}
    for request in requests:
        questions.setdefault(str(request["doc"]["id"]), request["doc"])
    return list(questions.values())
