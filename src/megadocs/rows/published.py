"""Reading published datasets: records of Parquet files to rows, one document at a time.

    for rows in PublishedReader(dataset, config, files, account).documents(): ...

The datasets have one text column and perhaps an id. Megadocs come in two forms: a record holds one whole, its rows
divided by separator strings; or its rows are consecutive records. Where there is no id, a document is named by the
SHA-256 of its real text: the real row of a megadoc, or the stretched text without its thoughts. So the same document in
two datasets is the same document. A shuffled ("simple") dataset needs no reading of its own: it is the stitched one's
rows in another order. Texts are cleaned as the corpus readers clean theirs (line ends, byte order mark), so that ids
meet. `published_rows.py` builds rows from them.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from megadocs.documents import Document
from megadocs.errors import InputError
from megadocs.kinds import REAL, Written
from megadocs.recipe import PublishedConfig, PublishedDataset
from megadocs.rows.source import SourceRow
from megadocs.seeding import text_digest

_BATCH_ROWS = 256


class PublishedReader:
    """Turns the records of one dataset into the rows of documents.

    Args:
        dataset: what its records are.
        config: for separators and tags.
        files: its Parquet files, in order.
        account: counts records_read, records_empty and documents_repeated.
    """

    def __init__(
        self, dataset: PublishedDataset, config: PublishedConfig, files: Sequence[Path], account: Counter[str]
    ) -> None:
        self._dataset = dataset
        self._config = config
        self._files = files
        self._account = account
        tags = f"{re.escape(config.think_open)}(.*?){re.escape(config.think_close)}"
        self._thought = re.compile(tags, flags=re.DOTALL)

    def documents(self) -> Iterator[list[SourceRow]]:
        """The rows of one document after another; a row whose like has come before is left out and counted.

        Raises:
            InputError: a file or column is missing or damaged, or a record does not have the form stated.
        """
        seen: set[tuple[str, int]] = set()
        for rows in self._megadocs() if self._dataset.form == "stitched" else self._singles():
            if not rows:
                continue
            identity = (rows[0].document_id, rows[0].generation if self._dataset.form == "rephrase" else 0)
            if identity in seen:
                self._account["documents_repeated"] += 1
                continue
            seen.add(identity)
            yield rows

    def parts(self, row: SourceRow) -> tuple[str, list[Written]]:
        """The real text of a stretched row, and its thoughts with their places in it."""
        thoughts, length, done = [], 0, 0
        for found in self._thought.finditer(row.text):
            length += found.start() - done
            done = found.end()
            thoughts.append(Written(length, str(found[1])))
        return self._real_text(row.text), thoughts

    def _real_text(self, stretched: str) -> str:
        return self._thought.sub("", stretched)

    def _singles(self) -> Iterator[list[SourceRow]]:
        """One row a record."""
        counted: Counter[str] = Counter()
        for index, record in enumerate(_iter_records(self._dataset, self._files)):
            pieces = [piece for piece in self._pieces(record["text"]) if piece.strip()]
            if len(pieces) > 1:
                raise InputError(
                    f"record {index} holds {len(pieces)} rows; a dataset of form {self._dataset.form!r} has one each",
                    where=self._dataset.source,
                    remedy="is it of another form (stitched), or are these separators text (published.separators)?",
                )
            name, generation = record["id"], record.get("generation")
            if name is not None and generation is None and self._dataset.form == "rephrase":
                generation = counted[name]
                counted[name] += 1  # an empty record has its number, too: those behind it keep theirs
            for piece in pieces:
                yield [self._single(name, piece, index if generation is None else generation)]

    def _single(self, name: str | None, text: str, number: int) -> SourceRow:
        match self._dataset.form:
            case "real":
                return SourceRow(name or text_digest(text), REAL, 0, text)
            case "self_distilled":
                return SourceRow(name or f"{text_digest(text)}-{number}", "self_distilled", number, text)
            case "rephrase":
                return SourceRow(name or text_digest(text), "rephrase", number, text)
            case _:
                name = name or text_digest(self._real_text(text))
                return SourceRow(name, "latent_thoughts", self._dataset.num_generations or 0, text)

    def _megadocs(self) -> Iterator[list[SourceRow]]:
        """Megadoc after megadoc: the rows of a record, or of `rows_per_document` records."""
        group: list[tuple[str | None, str]] = []
        per_document = self._dataset.rows_per_document or 1
        for index, record in enumerate(_iter_records(self._dataset, self._files)):
            pieces = self._pieces(record["text"])
            if self._dataset.rows_per_document is not None and not pieces:
                pieces = [""]  # it keeps its place: the rows behind it are not moved up
            group += [(record["id"], piece) for piece in pieces]
            if (index + 1) % per_document == 0 and group:
                yield self._megadoc(group, index)
                group = []
        if group:
            raise InputError(
                f"the last megadoc has {len(group)} rows instead of {per_document}",
                where=self._dataset.source,
                remedy="check rows_per_document: the generations and, if it is in, the real document",
            )

    def _megadoc(self, group: list[tuple[str | None, str]], number: int) -> list[SourceRow]:
        """Rephrases by their place, and the real document."""
        dataset = self._dataset
        if len({name for name, _ in group}) > 1:
            raise InputError(
                f"the megadoc that ends at record {number} has rows of {len({name for name, _ in group})} documents",
                where=dataset.source,
                remedy="check rows_per_document and id_field",
            )
        texts = [text for _, text in group]
        real = None
        if dataset.real_document != "none":
            real = texts.pop(-1 if dataset.real_document == "last" else 0)
            if not real.strip():
                self._account["documents_without_real_text"] += 1
                return []
        if len(texts) > (dataset.num_generations or 0):
            raise InputError(
                f"the megadoc that ends at record {number} has {len(texts)} rephrases, more than "
                f"num_generations={dataset.num_generations}",
                where=dataset.source,
                remedy="check num_generations, real_document, rows_per_document and the separators",
            )
        name = group[0][0] or text_digest(texts[0] if real is None else real)
        numbered = [(generation, text) for generation, text in enumerate(texts) if text.strip()]
        rows = [SourceRow(name, "rephrase", generation, text) for generation, text in numbered]
        return rows if real is None else [*rows, SourceRow(name, REAL, 0, real)]

    def _pieces(self, text: str) -> list[str]:
        """The rows of a record in their places, empty ones too; [] for a record without text."""
        self._account["records_read"] += 1
        pieces = split_rows(_clean(text), self._config.separators)
        num_empty = sum(not piece.strip() for piece in pieces)
        if num_empty == len(pieces):
            self._account["records_empty"] += 1
            return []
        if num_empty:
            self._account["rows_empty"] += num_empty
        return pieces


def split_rows(text: str, separators: Sequence[str]) -> list[str]:
    """The rows that separators divide, each in its place: an empty row between two boundaries stays one.

    Of two separators the first opens a row and the second closes it, so that both together are one boundary; a row that
    opens the text needs no opening, the last no closing.
    """
    if not separators:
        return [text]
    opening, closing = re.escape(separators[0]), re.escape(separators[-1])
    text = re.sub(rf"\A(?:\s*{opening})+|(?:{closing}\s*)+\Z", "", text)
    marks = "|".join(re.escape(separator) for separator in separators)
    return re.split(rf"{closing}\s*{opening}|{marks}" if opening != closing else marks, text)


def read_real_documents(
    config: PublishedConfig, files_of: Mapping[str, Sequence[Path]], account: Counter[str]
) -> list[Document]:
    """The real documents of the datasets that hold them, each once, in the order of the datasets.

    Args:
        files_of: name of each of `config.real_datasets` -> its Parquet files.
    """
    documents: dict[str, Document] = {}
    for name, dataset in config.real_datasets.items():
        for rows in PublishedReader(dataset, config, files_of[name], account).documents():
            for row in rows:
                if row.kind != REAL:
                    continue
                if row.document_id in documents:
                    account["documents_repeated"] += 1
                meta = {"group": row.document_id, "source": name}
                documents.setdefault(row.document_id, Document(row.document_id, row.text, meta))
    if not documents:
        raise InputError("the published datasets hold no real document", where="published.datasets")
    return list(documents.values())


def _clean(text: str) -> str:
    return text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")


def _iter_records(dataset: PublishedDataset, files: Iterable[Path]) -> Iterator[dict[str, Any]]:
    """text, id and generation (as far as the dataset has them) of every record, in the order of files and records."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    fields = {"text": dataset.text_field, "id": dataset.id_field, "generation": dataset.generation_field}
    columns = {key: column for key, column in fields.items() if column is not None}
    for path in files:
        try:
            row = 1
            with path.open("rb") as raw, pq.ParquetFile(raw) as file:
                _require_columns(file.schema_arrow.names, list(columns.values()), path)
                for batch in file.iter_batches(batch_size=_BATCH_ROWS, columns=list(columns.values())):
                    values = {key: batch.column(column).to_pylist() for key, column in columns.items()}
                    for index, text in enumerate(values["text"]):
                        record = {key: column[index] for key, column in values.items()}
                        if "generation" in record:
                            record["generation"] = _generation(record["generation"], dataset, f"{path}:{row}")
                        row += 1
                        if dataset.id_field is not None and record["id"] is None:
                            raise InputError("a record has no id", where=f"{path} ({dataset.id_field})")
                        name = None if dataset.id_field is None else str(record["id"])
                        yield {**record, "text": _text(text, path), "id": name}
        except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
            raise InputError(
                f"cannot read the dataset: {str(error).splitlines()[0]}",
                where=str(path),
                remedy="fetch or write the file again",
            ) from error


def _generation(value: object, dataset: PublishedDataset, where: str) -> int:
    """A record's generation number: a whole number from 0 to below num_generations."""
    number = int(value) if isinstance(value, float) and value.is_integer() else value
    limit = dataset.num_generations or 1
    if isinstance(number, int) and not isinstance(number, bool) and 0 <= number < limit:
        return number
    counts_from_one = isinstance(number, int) and number == limit
    raise InputError(
        f"column {dataset.generation_field!r} holds {value!r}, no number from 0 to {limit - 1}",
        where=f"{where} (generation_field)",
        remedy=f"generations count from 0: subtract 1, or give num_generations={limit + 1} if there are so many"
        if counts_from_one
        else "correct the record, name another generation_field, or leave it out: they are counted then",
    )


def _text(value: object, path: Path) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    raise InputError("the text column does not hold strings", where=str(path), remedy="set text_field")


def _require_columns(found: list[str], columns: list[str], path: Path) -> None:
    twice = [name for name in columns if found.count(name) > 1]
    if twice:
        raise InputError(
            f"{found.count(twice[0])} columns are named {twice[0]!r}", where=str(path), remedy="rename one"
        )
    missing = [name for name in columns if name not in found]
    if missing:
        raise InputError(
            f"there is no column {missing[0]!r}",
            where=str(path),
            remedy=f"its columns are {', '.join(found)}: set text_field, id_field or generation_field",
        )
