"""Which files a `corpus.source` stands for, and the records in one text or JSON-lines file.

    files = list_files(config.source)            # sorted by name: order never depends on the file system
    for file in files:
        for record in iter_records(file, config, intake): ...

A named file, glob or folder (searched below, hidden files left out) of `.txt`, `.jsonl`, `.jsonl.gz`, `.jsonl.zst` and
`.parquet`. `hf://` and `sotu://` are in modules of their own.
"""

from __future__ import annotations

import difflib
import glob
import json
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from megadocs.corpus.decompress import iter_lines
from megadocs.corpus.records import (
    MAX_RECORD_BYTES,
    Intake,
    Record,
    RejectedRecordError,
    clean_id,
    clean_text,
    looks_like_utf16,
)
from megadocs.errors import InputError
from megadocs.recipe.data import CorpusConfig
from megadocs.recipe.paths import user_path

SUFFIXES = (".txt", ".jsonl", ".jsonl.gz", ".jsonl.zst", ".parquet")
#: A field that none of the first this many records has is taken for a wrong name.
_RECORDS_BEFORE_GIVING_UP = 1000
_SOURCE_KEY = "corpus.source"
_POINTERS = (b"version https://git-lfs.github.com/", b"version https://hawser.github.com/", b"/annex/objects/")


@dataclass(frozen=True, slots=True)
class SourceFile:
    """One file of a source: where it is, and its name relative to the source's root ("/" on every system)."""

    path: Path
    name: str


@dataclass(frozen=True, slots=True)
class FileListing:
    """The files of a source in order, those beside them that are not read, and links that lead nowhere."""

    files: list[SourceFile]
    skipped: list[SourceFile] = field(default_factory=list)
    dangling: list[SourceFile] = field(default_factory=list)


def list_files(source: str) -> FileListing:
    """The files that `source` names.

    Raises:
        InputError: nothing there, or nothing readable.
    """
    path = user_path(source)
    if path.is_file():
        if not has_known_suffix(path.name):
            remedy = f"use one of {', '.join(SUFFIXES)}; {_conversion([path.name])}"
            raise InputError("unknown kind of file", where=f"{source} ({_SOURCE_KEY})", remedy=remedy)
        return FileListing([SourceFile(path, _printable(path.name))])
    if path.is_dir():
        root, found = path, list(_walk(path))
    else:
        matches = [Path(match) for match in glob.glob(str(path), recursive=True)]  # noqa: PTH207 (absolute patterns)
        root, found = _fixed_part(path), [match for match in matches if not match.is_dir()]
    named = [SourceFile(entry, _printable(entry.relative_to(root).as_posix())) for entry in found]
    visible = [file for file in named if not any(part.startswith(".") for part in file.name.split("/"))]
    dangling = [file for file in visible if not file.path.exists()]
    visible = [file for file in visible if file.path.is_file()]
    kept = sorted((file for file in visible if has_known_suffix(file.name)), key=lambda file: file.name)
    if not kept:
        remedy = f"name a file, glob or folder of {', '.join(SUFFIXES)}, hf://org/name, or sotu://1900-"
        what = "no such file, or nothing matches"
        if visible or dangling:
            what = f"no readable file there{_kinds([file.name for file in visible])}"
            remedy += f"; {_conversion([file.name for file in visible])}" if visible else ""
        raise InputError(what, where=f"{source} ({_SOURCE_KEY})", remedy=remedy)
    skipped = sorted((file for file in visible if not has_known_suffix(file.name)), key=lambda file: file.name)
    return FileListing(kept, skipped, sorted(dangling, key=lambda file: file.name))


def _walk(root: Path) -> Iterator[Path]:
    """Everything below a folder but folders, through links to folders, each folder once.

    Raises:
        InputError: a folder cannot be opened.
    """

    def refuse(error: OSError) -> None:
        raise InputError(
            f"cannot open the folder: {error.strerror}", where=str(error.filename), remedy="ask for read permission"
        ) from error

    seen = set()
    for folder, folders, files in os.walk(root, followlinks=True, onerror=refuse):
        facts = Path(folder).stat()
        if (facts.st_dev, facts.st_ino) in seen:
            folders.clear()
            continue
        seen.add((facts.st_dev, facts.st_ino))
        folders.sort()
        yield from (Path(folder) / name for name in files)


def has_known_suffix(name: str) -> bool:
    """Whether a file of this name is one of the kinds that can be read."""
    return name.lower().endswith(SUFFIXES)


def _kinds(names: Sequence[str]) -> str:
    """The files that are there instead, by kind: " (35 of .md, 1 of .pdf)"."""
    counts = Counter(sorted(Path(name).suffix.lower() or "no suffix" for name in names))
    most = ", ".join(f"{number} of {suffix}" for suffix, number in counts.most_common(3))
    return f" ({most}{', ...' if len(counts) > 3 else ''})" if counts else ""


def _conversion(names: Sequence[str]) -> str:
    """How files of kinds that are not read become ones that are."""
    suffixes = {Path(name).suffix.lower() for name in names}
    if ".json" in suffixes:
        return "a list in one .json file becomes a line for each document with `jq -c '.[]' FILE.json > FILE.jsonl`"
    if suffixes & {".csv", ".tsv"}:
        return "pandas writes a table as Parquet: `pandas.read_csv(FILE).to_parquet(FILE.parquet)`"
    return "plain text (Markdown, say) can be renamed to .txt"


def _printable(name: str) -> str:
    """A file name that is not valid Unicode still has to be written down somewhere."""
    return name.encode("utf-8", "backslashreplace").decode("utf-8")


def _fixed_part(pattern: Path) -> Path:
    parts = []
    for part in pattern.parts[:-1]:
        if glob.has_magic(part):
            break
        parts.append(part)
    return Path(*parts) if parts else Path()


def iter_text_file(file: SourceFile, config: CorpusConfig, intake: Intake) -> Iterator[Record]:
    """A `.txt` file is one record without an id of its own."""
    try:
        size = file.path.stat().st_size
        data = file.path.read_bytes() if size <= MAX_RECORD_BYTES else None
    except OSError as error:
        raise InputError(f"cannot read: {error.strerror}", where=str(file.path)) from error
    intake.num_records += 1
    try:
        if data is None:
            raise RejectedRecordError("too_long")
        yield Record(clean_text(data), None, file.name)
    except RejectedRecordError as error:
        intake.reject(error.reason, file.name)


def iter_json_lines(file: SourceFile, config: CorpusConfig, intake: Intake) -> Iterator[Record]:
    """The records of a `.jsonl[.gz|.zst]` file; lines end at "\\n" only, empty lines are passed over."""
    check = FieldCheck(config, file)
    for number, line in enumerate(iter_lines(file.path), start=1):
        if line is not None and not line.strip():
            continue
        intake.num_records += 1
        try:
            values = _parse_line(line, is_first=number == 1)
            check.saw(values)
            yield record_of(values, config, file)
        except RejectedRecordError as error:
            intake.reject(error.reason, f"{file.name}:{number}")
    check.finish()


def _parse_line(line: bytes | None, *, is_first: bool) -> dict[str, Any]:
    if line is None:
        raise RejectedRecordError("too_long")
    if looks_like_utf16(line):
        raise RejectedRecordError("looks_like_utf16")
    try:
        text = line.decode("utf-8-sig" if is_first else "utf-8")
    except UnicodeDecodeError as error:
        raise RejectedRecordError("invalid_utf8") from error
    try:
        values = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise RejectedRecordError("invalid_json") from error
    if not isinstance(values, dict):
        raise RejectedRecordError("not_a_json_object")
    return values


def record_of(values: Mapping[str, Any], config: CorpusConfig, file: SourceFile) -> Record:
    """The record in the named fields of one JSON object or table row."""
    text = clean_text(values.get(config.text_field))
    identity = None if config.id_field is None else clean_id(values.get(config.id_field))
    return Record(text, identity, file.name)


class FieldCheck:
    """Tells a wrong `corpus.text_field` or `corpus.id_field` from a record that happens to lack it."""

    def __init__(self, config: CorpusConfig, file: SourceFile) -> None:
        self._wanted = {"corpus.text_field": config.text_field}
        if config.id_field is not None:
            self._wanted["corpus.id_field"] = config.id_field
        self._file = file
        self._num_seen = 0
        self._names: dict[str, None] = {}

    def saw(self, values: Mapping[str, Any]) -> None:
        """Note the fields of one record; gives up after 1000 records none of which has a wanted field."""
        if not self._wanted:
            return
        self._wanted = {key: name for key, name in self._wanted.items() if name not in values}
        self._num_seen += 1
        if len(self._names) < 100:
            self._names.update(dict.fromkeys(values))
        if self._num_seen >= _RECORDS_BEFORE_GIVING_UP:
            self.finish()

    def finish(self) -> None:
        """At the end of the file: raises where a wanted field was in no record."""
        if self._num_seen and self._wanted:
            key, name = next(iter(self._wanted.items()))
            raise missing_field(key, name, self._names, str(self._file.path))


def missing_field(key: str, name: str, available: Iterable[str], where: str) -> InputError:
    """The error for a field that does not exist, with the nearest one that does."""
    names = [str(candidate)[:80] for candidate in available]
    nearest = difflib.get_close_matches(name, names, n=1, cutoff=0.4)
    remedy = f"set {key}={nearest[0]}" if nearest else f"set {key} to the field that holds it"
    listed = ", ".join(names[:12]) or "none"
    return InputError(f"no field {name!r} (there are: {listed})", where=f"{where} ({key})", remedy=remedy)


def is_pointer(path: Path) -> bool:
    """Whether a file stands for content that was not fetched: a pointer of Git LFS, git-annex or DVC."""
    try:
        with path.open("rb") as file:
            return file.read(64).startswith(_POINTERS)
    except OSError as error:
        raise InputError(f"cannot read: {error.strerror}", where=str(path), remedy="ask for read permission") from error


Reader = Callable[[SourceFile, CorpusConfig, Intake], Iterator[Record]]
