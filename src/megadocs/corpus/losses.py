"""What a source holds and the corpus does not: said in sentences, and refused above a share.

    refuse_losses(report, config)              # while the corpus is made
    for line in loss_lines(report): say(line)  # whenever it is used

Three shares are looked at: of the records those that were rejected, of the documents those whose id another text has,
of the bytes those in files of an unknown kind. `corpus.max_rejected_fraction` (0.05) is the limit of each.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from megadocs.errors import InputError
from megadocs.recipe.data import CorpusConfig

#: Reason of a rejection -> what to do about it.
REMEDIES = {
    "missing_text": "is corpus.text_field the right field?",
    "missing_id": "is corpus.id_field the right field? without one, ids are hashes of the texts",
    "invalid_utf8": "convert the files to UTF-8 (iconv -f ENCODING -t utf-8; latin1, gb18030 and shift_jis are common)",
    "looks_like_utf16": "convert the files to UTF-8 (iconv -f utf-16 -t utf-8; without a mark utf-16le or utf-16be)",
    "pointer_file": "fetch the content (git lfs pull, git annex get, dvc pull)",
    "dangling_link": "the link leads nowhere: mount or fetch what it names",
    "invalid_json": "one JSON object on each line",
    "not_a_json_object": "one JSON object on each line",
}


def loss_lines(report: Mapping[str, Any]) -> Iterator[str]:
    """One sentence for each kind of thing that was left out, with counts, reasons and the first places."""
    rejected = report.get("rejected", {})
    if rejected:
        reasons = ", ".join(f"{name} {number}" for name, number in rejected.items())
        yield (
            f"{sum(rejected.values())} of {report['num_records']} records were left out ({reasons}); the first: "
            f"{_places(report, rejected)}"
        )
    if report.get("num_skipped_files"):
        total = report["num_files"] + report["num_skipped_files"]
        names = ", ".join(report.get("skipped_examples", ()))
        yield f"{report['num_skipped_files']} of {total} files are of a kind that is not read" + (
            names and f": {names}"
        )
    published = report.get("published", {})
    empty = {
        name: published[name]
        for name in ("records_empty", "rows_empty", "documents_without_real_text")
        if published.get(name)
    }
    if empty:
        yield "of the published records: " + ", ".join(f"{name} {number}" for name, number in empty.items())
    num_same = _num_same_ids(report)
    if num_same:
        yield f"{num_same} documents were left out because another text has their id (corpus.id_field)"


def refuse_losses(report: Mapping[str, Any], config: CorpusConfig) -> None:
    """Stop where more is lost than the recipe allows.

    Raises:
        InputError: with every count and reason.
    """
    rejected, num_documents = report.get("rejected", {}), report.get("num_documents", 0)
    bytes_read, bytes_skipped = report.get("num_bytes", 0), report.get("num_skipped_bytes", 0)
    shares = (
        (sum(rejected.values()), report.get("num_records", 0)),
        (_num_same_ids(report), num_documents),
        (bytes_skipped, bytes_read + bytes_skipped),
    )
    worst = max((part / whole for part, whole in shares if whole), default=0.0)
    if worst <= config.max_rejected_fraction:
        return
    remedies = [REMEDIES[name] for name in rejected if name in REMEDIES]
    if _num_same_ids(report):
        remedies.append("do the files count their ids from 0 each? leave corpus.id_field out")
    if bytes_skipped:
        remedies.append("convert the files that are not read (to .jsonl, say), or name the others with a glob")
    remedies.append(f"corpus.max_rejected_fraction={min(1.0, worst + 0.005):.2f} takes what is left")
    raise InputError(
        f"{worst:.0%} of the source would be lost: " + "; ".join(loss_lines(report)),
        where=f"{config.source} (corpus.source)",
        remedy="; ".join(dict.fromkeys(remedies)),
    )


def _num_same_ids(report: Mapping[str, Any]) -> int:
    return int(report.get("duplicates", {}).get("same_id", 0))


def _places(report: Mapping[str, Any], rejected: Mapping[str, int]) -> str:
    examples = report.get("rejected_examples", {})
    return ", ".join(examples[name][0] for name in rejected if examples.get(name)) or "not known"
