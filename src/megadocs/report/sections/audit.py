"""The audit of the synthetic text as the page shows it: counts and shares side by side, one column a task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from megadocs.report.inputs import ReportInputs
from megadocs.report.section import Row, Section, View, flat, shown
from megadocs.report.wording import count, number, percent

#: Row title, key of the task's audit, and what the reader should know of it.
_DISTRIBUTIONS = (
    ("new tokens", "new_tokens", 0),
    ("characters", "characters", 0),
)
_SHARES = (
    ("8-grams copied from the source", "source_copy"),
    ("5-grams shared with the next sibling", "sibling_overlap"),
)


def _view(inputs: ReportInputs) -> View:
    """`ngram`; `overlap` with real, synthetic and synthetic-only columns; `rows` (title, cells), a cell per task."""
    audit = inputs.results.get("audit")
    return shown("audit", audit and _shown_audit(audit))


def _shown_audit(audit: Mapping[str, Any]) -> dict[str, Any]:
    tasks: Mapping[str, Mapping[str, Any]] = audit["tasks"]
    return {
        "ngram": audit["ngram"],
        "overlap": [_overlap_row(name, found) for name, found in audit["overlap"].items()],
        "tasks": list(tasks),
        "rows": [*_length_rows(tasks), *_share_rows(tasks), *_count_rows(tasks)],
        "openings": [
            (task, [(row["opening"], percent(row["share"])) for row in found["top_openings"][:5]])
            for task, found in tasks.items()
        ],
    }


def _overlap_row(name: str, found: Mapping[str, Any]) -> dict[str, Any]:
    kinds = ("real", "synthetic", "synthetic_only")
    return {
        "set": name,
        "documents": found["num_documents"],
        "ngrams": found["num_ngrams"],
        "shares": [percent(found["ngram_share"][kind], 2) for kind in kinds],
        "touched": [found["documents_touched"][kind] for kind in kinds],
    }


def _length_rows(tasks: Mapping[str, Mapping[str, Any]]) -> list[tuple[str, list[str]]]:
    rows = [("texts", [count(found["num_texts"]) for found in tasks.values()])]
    for title, key, digits in _DISTRIBUTIONS:
        rows.append((f"{title}, mean (5 % to 95 %)", [_spread(found[key], digits) for found in tasks.values()]))
    return rows


def _share_rows(tasks: Mapping[str, Mapping[str, Any]]) -> list[tuple[str, list[str]]]:
    rows = []
    for title, key in _SHARES:
        rows.append((f"{title}, mean (5 % to 95 %)", [_spread_percent(found[key]) for found in tasks.values()]))
    rows.append(
        (
            "texts copied by more than 80 %",
            [percent(found["source_copy"]["share_above_0.8"]) for found in tasks.values()],
        )
    )
    rows.append(("texts in another language", [percent(found["other_language_share"]) for found in tasks.values()]))
    return rows


def _count_rows(tasks: Mapping[str, Mapping[str, Any]]) -> list[tuple[str, list[str]]]:
    rows = []
    for title, key in (
        ("finish reason", "finish_reason"),
        ("flag", "flags"),
        ("status", "status"),
        ("error", "errors"),
    ):
        names: Sequence[str] = sorted({name for found in tasks.values() for name in found[key]})
        for name in names:
            cells = [
                f"{count(found[key].get(name, 0))} ({percent(found[key].get(name, 0) / total)})" if total else "none"
                for found in tasks.values()
                for total in [sum(found["status"].values())]
            ]
            rows.append((f"{title}: {name}", cells))
    return rows


def _spread(found: Mapping[str, Any], digits: int) -> str:
    if not found["count"]:
        return "none"
    return f"{number(found['mean'], digits)} ({number(found['p5'], digits)} to {number(found['p95'], digits)})"


def _spread_percent(found: Mapping[str, Any]) -> str:
    if not found["count"]:
        return "none"
    return f"{percent(found['mean'])} ({percent(found['p5'])} to {percent(found['p95'])})"


def _tables(results: Mapping[str, Any]) -> dict[str, list[Row]]:
    audit = results.get("audit") or {"ngram": 0, "overlap": {}, "tasks": {}}
    return {
        "audit_overlap": [
            {"set": name, "ngram": audit["ngram"], **flat(row)} for name, row in audit["overlap"].items()
        ],
        "audit_tasks": [{"task": task, **flat(row, skip=("top_openings",))} for task, row in audit["tasks"].items()],
    }


SECTION = Section("audit", "Audit of the synthetic text", _view, _tables)
