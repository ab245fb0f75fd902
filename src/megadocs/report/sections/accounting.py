"""Where every token came from and went: corpus, generations, streams."""

from __future__ import annotations

from itertools import groupby

from megadocs.report.inputs import ReportInputs
from megadocs.report.section import Section, View, flat_rows


def _view(inputs: ReportInputs) -> View:
    return {"streams_by_arm": [(arm, list(rows)) for arm, rows in groupby(inputs.streams, key=lambda row: row.arm)]}


SECTION = Section(
    "accounting",
    "Token accounting",
    _view,
    lambda results: {name: flat_rows(results.get(name, ())) for name in ("generations", "streams")},
)
